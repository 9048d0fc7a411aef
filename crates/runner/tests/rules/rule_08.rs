//! The lease runs from the sending of the last answered renewal. At its end something that
//! outlives the agent kills the containers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use onspot_runner::watchdog;
use tokio_util::sync::CancellationToken;

use crate::world::{Op, World, seconds};

/// The first accident: a lease that runs from the answer ends after the take-over.
#[tokio::test(start_paused = true)]
async fn without_it_a_slow_answer_stretches_the_lease() {
    let world = World::new();
    let (sent, answered) = (Duration::from_secs(10), Duration::from_secs(110));
    let first_seen_by_the_leader = sent + world.timing.round;
    let taken_over = first_seen_by_the_leader + world.timing.takeover;
    assert!(
        answered + world.timing.lease > taken_over,
        "two workers run it for half a minute"
    );
    assert!(sent + world.timing.lease < taken_over);
}

#[tokio::test(start_paused = true)]
async fn with_it_the_containers_are_dead_before_the_takeover() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(20));
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    seconds(5).await;
    world.gitlab.push(1);
    world.until_started(1, "w1").await;
    // The next renewal is applied and answered 100 s later; then the line is cut.
    let slow = w1.line.hold_answers(Op::Put, "state");
    slow.reached().await;
    seconds(100).await;
    w1.line.cut(Op::Any, "");
    slow.open();
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    assert!(!world.log.overlaps(1));
}

/// The second accident: the agent dies, its containers do not.
#[tokio::test(start_paused = true)]
async fn without_a_watchdog_a_dead_agents_containers_run_on_beside_the_successor() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(20));
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    seconds(5).await;
    world.gitlab.push(1);
    world.until_started(1, "w1").await;
    w1.crash();
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    assert!(world.log.overlaps(1));
}

#[tokio::test(start_paused = true)]
async fn with_a_watchdog_they_are_dead_by_then() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(20));
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    seconds(5).await;
    world.gitlab.push(1);
    world.until_started(1, "w1").await;
    // The agent noted its lease before it died: at the latest now.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lease");
    let until = world.clock.steady() + world.timing.lease;
    std::fs::write(&file, until.as_millis().to_string()).unwrap();
    w1.crash();
    let (clock, shutdown) = (world.clock.clone(), CancellationToken::new());
    let stop = shutdown.clone();
    let watching = tokio::spawn(async move {
        let kill = || {
            let host = Arc::clone(&h1);
            async move {
                host.kill_all();
                Ok::<_, Infallible>(())
            }
        };
        watchdog(&file, &clock, kill, stop).await;
    });
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    assert!(!world.log.overlaps(1));
    shutdown.cancel();
    watching.await.unwrap();
}
