use parking_lot::Mutex;
use std::collections::BTreeSet;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use onspot_fleet::{Instance, InstanceState, Pool, PoolError, Refusal};
use onspot_ledger::{RunnerName, WorkerId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::super::tests::instance;
use super::*;
use crate::capacity::{Capacity, LookedUp};
use crate::clock::Clock;

/// EC2, with its next answers prepared.
#[derive(Default)]
struct Ec2 {
    answers: Mutex<Vec<Result<Launched, CapacityError>>>,
    asked: Mutex<Vec<LaunchRequest>>,
    listed: Mutex<Vec<Instance>>,
    ended: Mutex<Vec<Vec<InstanceId>>>,
    version: Mutex<i64>,
}

fn pending(name: &str) -> Instance {
    instance(name, InstanceState::Pending)
}

fn silence() -> Result<Launched, CapacityError> {
    Err(CapacityError::Timeout {
        operation: "launch",
        limit: Duration::from_mins(1),
    })
}

fn new(name: &str) -> Launched {
    Launched {
        instances: vec![pending(name)],
        errors: Vec::new(),
    }
}

fn refused(code: &str) -> Launched {
    let pool = Pool {
        instance_type: "m6i.large".to_owned(),
        zone: "eu-1a".to_owned(),
        lifecycle: Lifecycle::Spot,
    };
    let error = PoolError {
        pool,
        code: code.to_owned(),
        message: String::new(),
    };
    Launched {
        instances: Vec::new(),
        errors: vec![error],
    }
}

impl Capacity for Ec2 {
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        async { Ok(self.listed.lock().clone()) }.boxed()
    }

    fn look_up(
        &self,
        instances: Vec<InstanceId>,
    ) -> BoxFuture<'_, Result<Vec<LookedUp>, CapacityError>> {
        let listed = self.listed.lock().clone();
        let found = instances.into_iter().map(move |id| {
            let mut listed = listed.iter();
            let known = listed.find(|instance| instance.id == id).cloned();
            (id, known)
        });
        let found = found.collect();
        async move { Ok(found) }.boxed()
    }

    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn launch(&self, request: LaunchRequest) -> BoxFuture<'_, Result<Launched, CapacityError>> {
        async move {
            self.asked.lock().push(request);
            let mut answers = self.answers.lock();
            if answers.is_empty() {
                return silence();
            }
            answers.remove(0)
        }
        .boxed()
    }

    fn terminate(&self, ended: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>> {
        self.ended.lock().push(ended);
        async { Ok(()) }.boxed()
    }

    fn console(&self, _: InstanceId) -> BoxFuture<'_, Result<Option<String>, CapacityError>> {
        let text = "booting\nonspot boot: FAILED with status 1 at line 9: get\n";
        async move { Ok(Some(text.to_owned())) }.boxed()
    }

    fn template_version(&self) -> BoxFuture<'_, Result<Option<i64>, CapacityError>> {
        let version = *self.version.lock();
        async move { Ok(Some(version)) }.boxed()
    }
}

fn fleet(answers: Vec<Result<Launched, CapacityError>>) -> (Arc<Ec2>, Arc<Fleet>) {
    let ec2 = Arc::new(Ec2 {
        answers: Mutex::new(answers),
        ..Ec2::default()
    });
    let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
    let wake = Arc::new(Notify::new());
    let fleet = Fleet::new(RunnerName::new("r"), "AROA", ec2.clone(), clock, wake);
    (ec2, fleet)
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn tokens(ec2: &Ec2) -> Vec<String> {
    let asked = ec2.asked.lock();
    asked.iter().map(|request| request.token.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_launch_without_answer_is_asked_for_again_with_the_same_token_and_words() {
    let (ec2, fleet) = fleet(vec![silence(), silence(), Ok(new("i-1")), Ok(new("i-2"))]);
    fleet.launch(2, Lifecycle::Spot, 1);
    seconds(1).await;
    assert!(fleet.status().in_doubt);
    assert_eq!(fleet.status().launching, [(2, Lifecycle::Spot)]);
    // A launch in doubt is not repeated with another token.
    fleet.launch(2, Lifecycle::Spot, 1);
    seconds(60).await;
    let asked = ec2.asked.lock().clone();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|request| *request == asked[0]));
    assert!(!fleet.status().in_doubt);
    assert_eq!(fleet.status().instances.len(), 1);
    // The next decision is another one.
    fleet.launch(1, Lifecycle::Spot, 1);
    seconds(1).await;
    let tokens = tokens(&ec2);
    assert_ne!(tokens[0], tokens[3]);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_decided_anew() {
    let (ec2, fleet) = fleet(vec![Ok(refused("InternalError")), Ok(new("i-1"))]);
    fleet.launch(1, Lifecycle::Spot, 1);
    seconds(11).await;
    fleet.launch(1, Lifecycle::Spot, 1);
    seconds(1).await;
    let tokens = tokens(&ec2);
    assert!(tokens.len() == 2 && tokens[0] != tokens[1]);
}

#[tokio::test(start_paused = true)]
async fn a_late_launch_is_adopted_and_ends_no_doubt_too_early() {
    let (ec2, fleet) = fleet(Vec::new());
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&fleet).watch(Duration::from_secs(5), stop.clone()));
    fleet.launch(1, Lifecycle::Spot, 1);
    seconds(30).await;
    // It was launched after all: EC2 lists it by its tags.
    ec2.listed.lock().push(pending("i-late"));
    seconds(10).await;
    assert_eq!(
        fleet.status().instances.len(),
        1,
        "it counts like any other"
    );
    assert!(fleet.status().in_doubt);
    seconds(16 * 60).await;
    assert!(!fleet.status().in_doubt && fleet.status().launching.is_empty());
    let tokens = tokens(&ec2);
    assert!(tokens.len() > 10 && tokens.iter().all(|token| *token == tokens[0]));
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_steps_down_asks_for_nothing_more() {
    let (ec2, fleet) = fleet(Vec::new());
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&fleet).watch(Duration::from_secs(5), stop.clone()));
    fleet.launch(1, Lifecycle::Spot, 1);
    seconds(1).await;
    stop.cancel();
    seconds(1).await;
    let asked = tokens(&ec2).len();
    seconds(300).await;
    assert_eq!(tokens(&ec2).len(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_new_machine_that_ec2_does_not_know_yet_is_still_booting() {
    let (_ec2, fleet) = fleet(vec![Ok(new("i-1"))]);
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&fleet).watch(Duration::from_secs(5), stop.clone()));
    seconds(1).await;
    fleet.launch(1, Lifecycle::Spot, 1);
    // Neither listed nor known by its id.
    seconds(4 * 60).await;
    let status = fleet.status();
    let found = status.instances.values().next().expect("it is remembered");
    assert_eq!(found.state, InstanceState::Pending);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn machines_of_one_round_are_given_back_in_one_call() {
    let (ec2, fleet) = fleet(Vec::new());
    for name in ["i-1", "i-2", "i-3", "i-2"] {
        fleet.terminate(InstanceId::new(name), "it is not needed");
    }
    seconds(1).await;
    fleet.terminate(InstanceId::new("i-4"), "it is not needed");
    seconds(1).await;
    let ended = ec2.ended.lock();
    let calls: Vec<usize> = ended.iter().map(Vec::len).collect();
    assert_eq!(calls, [3, 1]);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_remembered_by_their_class() {
    let (_ec2, fleet) = fleet(vec![Ok(refused("MaxSpotInstanceCountExceeded"))]);
    fleet.launch(1, Lifecycle::Spot, 1);
    seconds(1).await;
    let status = fleet.status();
    let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(2);
    let refused: Vec<_> = status.pools.refused(Lifecycle::Spot, now).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].refusal, Refusal::Limit);
}

/// One look at machines in these states, after a round that heard of none.
async fn boots(ec2: &Ec2, fleet: &Arc<Fleet>, states: &[(&str, InstanceState)]) {
    fleet.reported(Arc::default());
    *ec2.listed.lock() = states
        .iter()
        .map(|(name, state)| instance(name, *state))
        .collect();
    fleet.look().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_image_is_bought_no_more_until_the_template_changes() {
    let (ec2, fleet) = fleet(Vec::new());
    let now = || Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(60);
    let all = ["i-1", "i-2", "i-3"];
    let with = |state| all.map(|name| (name, state));
    boots(&ec2, &fleet, &with(InstanceState::Running)).await;
    fleet.look_at_template().await;
    // They fail at boot and turn themselves off.
    boots(&ec2, &fleet, &with(InstanceState::ShuttingDown)).await;
    fleet.look_at_template().await;
    {
        let status = fleet.status();
        let halt = status.boots.halted(now()).expect("it has stopped");
        assert!(halt.is_final && halt.lost == 3);
        let last = halt.last.expect("a diagnosis");
        assert!(last.console.iter().any(|line| line.contains("FAILED")));
    }
    *ec2.version.lock() += 1;
    seconds(31).await;
    fleet.look_at_template().await;
    assert!(fleet.status().boots.halted(now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_never_reports_is_read_before_it_is_given_back() {
    let (ec2, fleet) = fleet(Vec::new());
    boots(&ec2, &fleet, &[("i-1", InstanceState::Running)]).await;
    fleet.never_reported(InstanceId::new("i-1"), "it never reported");
    fleet.never_reported(InstanceId::new("i-1"), "it never reported");
    seconds(1).await;
    assert_eq!(ec2.ended.lock().len(), 1);
    let status = fleet.status();
    let halt = status.boots.halted(Timestamp::UNIX_EPOCH);
    assert!(halt.and_then(|halt| halt.last).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_reports_while_its_console_is_read_is_kept() {
    let (ec2, fleet) = fleet(Vec::new());
    boots(&ec2, &fleet, &[("i-1", InstanceState::Running)]).await;
    fleet.never_reported(InstanceId::new("i-1"), "it never reported");
    fleet.reported(Arc::new(BTreeSet::from([WorkerId::of("AROA", "i-1")])));
    seconds(60).await;
    assert!(ec2.ended.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_spot_instance_that_is_taken_back_while_it_boots_says_nothing_of_its_image() {
    let (ec2, fleet) = fleet(Vec::new());
    boots(&ec2, &fleet, &[("i-1", InstanceState::Running)]).await;
    *ec2.listed.lock() = vec![Instance {
        reason: Some("Server.SpotInstanceTermination".to_owned()),
        ..instance("i-1", InstanceState::Terminated)
    }];
    fleet.look().await;
    assert!(!fleet.status().boots.are_doubtful());
}
