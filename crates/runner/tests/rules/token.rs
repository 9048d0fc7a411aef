//! A runner's token belongs to its owner: a manager uses it, but never unregisters it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use onspot_fleet::InstanceId;
use onspot_gitlab::{Client, Info, RunnerIdentity, RunnerToken, SystemId};
use onspot_ledger::{Key, ManagerId, MemoryLedger, read};
use onspot_runner::capacity::HostCapacity;
use onspot_runner::coordinator::{GitLab, GitLabJobs};
use onspot_runner::leader::{LeaderContext, RunnerContext, lead};
use onspot_runner::{Clock, Liveness};
use onspot_settings::{Runner, Timing};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::world::{ROLE, World, runner, seconds};

/// A manager that ends, is terminated or is replaced by `up` is followed by another one with the
/// same token. Unregistering it would take the runner and its jobs away from all of them.
#[tokio::test]
async fn a_manager_that_is_replaced_never_unregisters_the_runners_token() {
    let server = MockServer::start().await;
    for (verb, to, code) in [
        ("POST", "/api/v4/runners/verify", 200),
        ("POST", "/api/v4/jobs/request", 204),
        ("DELETE", "/api/v4/runners", 204),
    ] {
        Mock::given(method(verb))
            .and(path(to))
            .respond_with(ResponseTemplate::new(code))
            .mount(&server)
            .await;
    }
    let ledger = Arc::new(MemoryLedger::new());
    for (name, hellos) in [("first", 1), ("second", 2)] {
        let client = Client::new(&server.uri().parse().unwrap()).unwrap();
        let token = RunnerToken::new("glrt-0123456789");
        let identity = RunnerIdentity::new(token, SystemId::of_this_host(), Info::docker());
        let served = RunnerContext {
            source: Arc::new(GitLab::new(client.clone(), identity)),
            coordinator: Arc::new(GitLabJobs::new(client, Runner::without_gitlab("r"))),
            capacity: Arc::new(HostCapacity::new(InstanceId::new("host"), Timestamp::now())),
            role_id: ROLE.to_owned(),
            policy: None,
            limit: 0,
            request_concurrency: 1,
            short_token: "glrt-0123".to_owned(),
        };
        let context = LeaderContext {
            ledger: ledger.clone(),
            clock: Clock::system(),
            timing: Timing::default(),
            me: ManagerId::new(name),
            version: "1".to_owned(),
            registry: None,
            concurrent: 1,
            check_interval: Duration::from_secs(3),
            liveness: Liveness::new(),
            metrics: Arc::default(),
            last_answer: Duration::from_secs(2),
            runners: BTreeMap::from([(runner(), served)]),
        };
        let shutdown = CancellationToken::new();
        let leads = tokio::spawn(lead(Arc::new(context), shutdown.clone()));
        let greeted = async {
            loop {
                let leader = read(&*ledger, &Key::leader()).await.unwrap();
                let leads = leader.is_some_and(|l| l.value.is_led_by(&ManagerId::new(name)));
                if leads && server.received_requests().await.unwrap().len() >= hellos {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), greeted)
            .await
            .unwrap();
        shutdown.cancel();
        leads.await.unwrap();
    }
    let asked = server.received_requests().await.unwrap();
    let asked: Vec<String> = asked.iter().map(|r| r.method.to_string()).collect();
    assert!(
        asked.len() >= 2 && asked.iter().all(|verb| verb == "POST"),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_shown_a_few_times_and_then_rarely() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let a = world.manager("a");
    a.connection.set_refused(true);
    seconds(3600).await;
    let asked = a.connection.asked();
    assert!((3..=10).contains(&asked), "{asked}");
    // It was fixed in GitLab, which is noticed within the longest pause.
    a.connection.set_refused(false);
    world.gitlab.push(1);
    world.until_cleared(1).await;
}
