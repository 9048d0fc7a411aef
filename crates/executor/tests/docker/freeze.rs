//! Frozen jobs.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::process::Command;
use std::time::Duration;

use onspot_cache::CacheAccess;
use onspot_executor::{Executor, Outcome, Stop};
use onspot_gitlab::FailureReason;
use onspot_gitlab::job::{Image, JobPayload};

use crate::LONG;
use crate::support::{Bench, Running, job};

/// Counts endlessly in a file, and in the background in another one.
const COUNTS: [&str; 3] = [
    "(i=0; while :; do i=$((i+1)); echo $i >background; sleep 0.01; done) &",
    "echo begun",
    "i=0; while [ ! -e enough ]; do i=$((i+1)); echo $i >counter; sleep 0.01; done",
];

/// The values of both counters.
fn counters(bench: &Bench) -> Vec<u64> {
    let project = bench.dir.path().join("builds").join(&bench.runner);
    let project = project.join("slot-0/build/group/project");
    let counter = |name: &str| {
        let text = std::fs::read_to_string(project.join(name)).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    };
    ["counter", "background"].map(counter).to_vec()
}

/// Waits until both counters grow.
async fn until_they_count(bench: &Bench) {
    let before = counters(bench);
    let more = async {
        while counters(bench)
            .iter()
            .zip(&before)
            .any(|(now, before)| now <= before)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, more).await.unwrap();
}

/// The states of the containers of job, services and helper.
fn states(bench: &Bench) -> Vec<String> {
    let label = format!("label=onspot.runner={}", bench.runner);
    let output = Command::new("docker")
        .args(["ps", "--all", "--filter", &label, "--format", "{{.State}}"])
        .output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    output.lines().map(str::to_owned).collect()
}

async fn start(bench: &Bench, payload: JobPayload, timeout: Duration) -> Running {
    let mut running = bench.start(payload, CacheAccess::None, timeout);
    running.until_trace_holds("\nbegun\n").await;
    until_they_count(bench).await;
    running
}

/// How many containers there are.
fn left(bench: &Bench) -> usize {
    bench.containers("job") + bench.containers("service") + bench.containers("helper")
}

#[tokio::test]
async fn a_frozen_job_does_nothing_and_continues_where_it_was() {
    let bench = Bench::new("freeze").await;
    let mut payload = job(&COUNTS);
    payload.services = vec![Image {
        name: onspot_executor::HELPER_IMAGE.into(),
        alias: "ghost".into(),
        entrypoint: vec!["sleep".into(), "1000".into()],
        ..Image::default()
    }];
    let running = start(&bench, payload, LONG).await;
    bench.executor.freeze(0).await.unwrap();
    bench.executor.freeze(0).await.unwrap();
    // The next job's helper may be about to be created.
    let states = states(&bench);
    let paused = states.iter().filter(|state| *state == "paused");
    assert!(paused.count() >= 3, "{states:?}");
    let frozen = counters(&bench);
    // Long enough for a hundred steps, if it were running.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(counters(&bench), frozen);

    bench.executor.thaw(0).await.unwrap();
    until_they_count(&bench).await;
    let project = bench.dir.path().join("builds").join(&bench.runner);
    std::fs::write(project.join("slot-0/build/group/project/enough"), "").unwrap();
    let ended = running.end(true).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    bench.finish().await;
}

#[tokio::test]
async fn a_frozen_job_is_killed_without_running_and_leaves_nothing() {
    let bench = Bench::new("kill-frozen").await;
    for stop in [Stop::Abort, Stop::Interrupt] {
        let running = start(&bench, job(&COUNTS), LONG).await;
        bench.executor.freeze(0).await.unwrap();
        let frozen = counters(&bench);
        running.stop.send_replace(Some(stop));
        let ended = running.end(true).await;
        assert_eq!(ended.outcome, Outcome::Aborted);
        assert_eq!(counters(&bench), frozen, "not even for a moment");
        assert_eq!(bench.containers("job"), 0);
    }
    // The slot can still be used.
    let ended = bench.run(job(&["echo fine"])).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    bench.finish().await;
}

#[tokio::test]
async fn the_time_limit_of_a_frozen_job_continues() {
    let bench = Bench::new("frozen-late").await;
    let limit = Duration::from_secs(10);
    let running = start(&bench, job(&COUNTS), limit).await;
    bench.executor.freeze(0).await.unwrap();
    let frozen = counters(&bench);
    let ended = running.end(true).await;
    let Outcome::Failed { reason, .. } = ended.outcome else {
        panic!("{}", ended.trace)
    };
    assert_eq!(reason, FailureReason::JobExecutionTimeout);
    assert_eq!(counters(&bench), frozen);
    assert_eq!(bench.containers("job"), 0);
    bench.finish().await;
}

#[tokio::test]
async fn nothing_is_started_while_the_slot_is_frozen() {
    let bench = Bench::new("frozen-gate").await;
    bench.executor.freeze(0).await.unwrap();
    let mut running = bench.start(job(&["echo begun"]), CacheAccess::None, LONG);
    running.until_trace_holds("Using Docker executor").await;
    let begun = running.until_trace_holds("\nbegun\n");
    let begun = tokio::time::timeout(Duration::from_secs(3), begun).await;
    assert!(begun.is_err(), "it waits");
    bench.executor.thaw(0).await.unwrap();
    let ended = running.end(true).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    bench.finish().await;
}

#[tokio::test]
async fn a_sweep_kills_frozen_leftovers() {
    let bench = Bench::new("sweep-frozen").await;
    let running = start(&bench, job(&COUNTS), LONG).await;
    bench.executor.freeze(0).await.unwrap();
    let frozen = counters(&bench);
    let swept = bench.executor.sweep().await.unwrap();
    assert_eq!(swept.job_containers, 1);
    assert_eq!((left(&bench), counters(&bench)), (0, frozen));
    running.stop.send_replace(Some(Stop::Abort));
    running.end(true).await;
    bench.finish().await;
}
