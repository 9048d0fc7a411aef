//! Services that do not start, or share a name.

use std::time::Duration;

use onspot_executor::Outcome;
use onspot_gitlab::Variable;
use onspot_gitlab::job::{Image, JobPayload};
use onspot_settings::ContainerService;

use crate::support::{Bench, IMAGE, job};

fn service(alias: &str, command: &str) -> Image {
    Image {
        name: IMAGE.into(),
        alias: alias.into(),
        entrypoint: vec!["/bin/sh".into(), "-c".into()],
        command: vec![command.into()],
        ..Image::default()
    }
}

fn with(service: Image, line: &str) -> JobPayload {
    let mut payload = job(&[line]);
    payload.services = vec![service];
    payload
}

fn port(number: &str) -> Vec<Variable> {
    vec![Variable::public("HEALTHCHECK_TCP_PORT", number)]
}

#[tokio::test]
async fn a_service_that_dies_shows_its_log_in_the_trace() {
    let bench = Bench::new("service-dies").await;
    let mut database = service("db", "echo database-says-bad-password >&2; exit 3");
    database.variables = port("5432");
    let ended = bench.run(with(database, "echo goes-on-$((1+1))")).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    for text in [
        "ended with exit code 3: it probably didn't start properly",
        "database-says-bad-password\n",
        "\ngoes-on-2\n",
    ] {
        assert!(ended.trace.contains(text), "no {text:?} in {}", ended.trace);
    }
    let shown = ended.trace.matches("database-says").count();
    assert_eq!(shown, 1, "{}", ended.trace);
    bench.finish().await;
}

/// Nothing waits for this service, but its log tells why the script fails.
#[tokio::test]
async fn a_service_without_ports_that_dies_meanwhile_shows_its_log_too() {
    let bench = Bench::new("service-dies-later").await;
    let database = service("db", "echo no-room-left >&2; exit 4");
    let waits = "sleep 2; exit 1";
    let ended = bench.run(with(database, waits)).await;
    assert!(matches!(ended.outcome, Outcome::Failed { .. }));
    assert!(ended.trace.contains("no-room-left\n"), "{}", ended.trace);
    let fine = service("db", "echo all-done; exit 0");
    let ended = bench.run(with(fine, "sleep 2")).await;
    assert!(!ended.trace.contains("all-done"), "{}", ended.trace);
    bench.finish().await;
}

#[tokio::test]
async fn a_service_that_is_not_ready_in_time_shows_its_log() {
    let bench = Bench::with("service-late", "http://127.0.0.1:9", |settings| {
        settings.docker.wait_for_services = Some(Duration::from_secs(2));
    })
    .await;
    let mut slow = service("db", "echo still-recovering; sleep 1000");
    slow.variables = port("5432");
    let ended = bench.run(with(slow, "true")).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    for text in ["has not opened port 5432 after 2 s", "still-recovering\n"] {
        assert!(ended.trace.contains(text), "no {text:?} in {}", ended.trace);
    }
    bench.finish().await;
}

#[tokio::test]
async fn the_port_that_a_healthcheck_names_is_waited_for() {
    let bench = Bench::new("healthcheck").await;
    let server = "sleep 3; exec perl -e 'use IO::Socket::INET; my $s = IO::Socket::INET->new(\
                  LocalPort => 8080, Listen => 5); while (my $c = $s->accept) { close $c }'";
    let mut late = service("web", server);
    late.name = onspot_executor::HELPER_IMAGE.into();
    late.variables = port("8080");
    // A single try, which would be too early without the wait.
    let ended = bench.run(with(late, "exec 3<>/dev/tcp/web/8080")).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    let waited = "Waiting for services to be up and running";
    assert!(ended.trace.contains(waited), "{}", ended.trace);
    assert!(!ended.trace.contains("properly"), "{}", ended.trace);
    bench.finish().await;
}

#[tokio::test]
async fn a_service_of_the_runner_runs_with_every_job() {
    let bench = Bench::with("own-service", "http://127.0.0.1:9", |settings| {
        settings.docker.services = vec![ContainerService {
            name: IMAGE.into(),
            alias: "of-runner".into(),
            entrypoint: vec!["sleep".into()],
            command: vec!["1000".into()],
            ..ContainerService::default()
        }];
    })
    .await;
    let second = service("of-job", "sleep 1000");
    let ended = bench
        .run(with(second, "getent hosts of-runner of-job debian"))
        .await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    let taken = "is not reached as \"debian\"";
    assert!(ended.trace.contains(taken), "{}", ended.trace);
    bench.finish().await;
}

#[tokio::test]
async fn what_services_say_is_in_the_trace_if_the_job_wants_it() {
    let bench = Bench::new("service-log").await;
    let mut database = service(
        "db second",
        "echo secret-is-hunter2; sleep 1; echo said-later >&2; sleep 1000",
    );
    database.alias = "db second".into();
    let mut payload = with(database, "sleep 2");
    payload
        .variables
        .push(Variable::public("CI_DEBUG_SERVICES", "true"));
    payload.variables.push(Variable {
        masked: true,
        ..Variable::public("PASSWORD", "hunter2")
    });
    let ended = bench.run(payload.clone()).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    for text in [
        "[service:debian-db-second] 20",
        " secret-is-[MASKED]\x1b",
        " said-later\x1b",
    ] {
        assert!(ended.trace.contains(text), "no {text:?} in {}", ended.trace);
    }
    payload.variables.truncate(1);
    let ended = bench.run(payload).await;
    assert!(!ended.trace.contains("said-later"), "{}", ended.trace);
    bench.finish().await;
}

#[tokio::test]
async fn a_service_reaches_the_job_as_build() {
    let bench = Bench::new("build-alias").await;
    let asks = "until getent hosts build >/builds/seen; do sleep 0.1; done; sleep 1000";
    let waits = "for i in $(seq 100); do [ -s /builds/seen ] && break; sleep 0.1; done; \
                 cat /builds/seen; rm /builds/seen; hostname -i";
    let ended = bench.run(with(service("asker", asks), waits)).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    let seen = ended.trace.lines().find(|line| line.ends_with(" build"));
    let address = seen.and_then(|line| line.split_whitespace().next());
    let address = address.unwrap_or_else(|| panic!("{}", ended.trace));
    assert!(
        ended.trace.lines().any(|line| line.trim() == address),
        "{}",
        ended.trace
    );
    bench.finish().await;
}
