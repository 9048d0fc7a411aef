//! S3 out of reach: of one worker, or of everybody. A worker can't tell the two apart, so it ends
//! its jobs at its lease's end in both; see `docs/design/0013-the-lease-ends-in-an-outage-too.md`.

use std::time::Duration;

use onspot_ledger::Ending;

use crate::world::{Actor, Gate, Op, World, seconds};

/// A script that would outlast any outage of these stories.
const LONG: Duration = Duration::from_mins(30);

fn cut_all<'a>(actors: impl IntoIterator<Item = &'a Actor>) -> Vec<Gate> {
    let actors = actors.into_iter();
    actors.map(|actor| actor.line.cut(Op::Any, "")).collect()
}

/// The accident: a worker that goes on because S3 might be out for all. It was out for this one.
#[tokio::test(start_paused = true)]
async fn without_it_a_worker_that_goes_on_past_its_lease_runs_beside_its_successor() {
    let mut world = World::new();
    world.log.set_script(1, LONG);
    let ours = world.timing.clone();
    // It never believes that its lease has ended.
    world.timing.lease = Duration::from_hours(10);
    let (_h1, w1) = world.worker("w1");
    world.timing = ours;
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let _cut = cut_all([&w1]);
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    seconds(1).await;
    assert!(world.log.overlaps(1));
}

/// Why there is no better rule without a third that both can ask: whatever w1 did in the one
/// story it would have to do in the other, as it sees the very same of both.
#[tokio::test(start_paused = true)]
async fn to_a_worker_an_outage_looks_like_its_own_partition() {
    let mut ended = Vec::new();
    for everybody in [true, false] {
        let world = World::new();
        world.log.set_script(1, LONG);
        let (_h1, w1) = world.worker("w1");
        let a = world.manager("a");
        world.push_and_start(1, "w1").await;
        let (_h2, w2) = world.worker("w2");
        seconds(10).await;
        let _cut = cut_all(if everybody {
            vec![&w1, &w2, &a]
        } else {
            vec![&w1]
        });
        seconds(600).await;
        let executions = world.log.executions(1);
        ended.push(executions[0].to.unwrap());
        assert_eq!(executions.len(), if everybody { 1 } else { 2 });
        assert!(!world.log.overlaps(1));
    }
    assert_eq!(ended[0], ended[1], "it does the same at the same time");
}

#[tokio::test(start_paused = true)]
async fn an_outage_within_the_lease_costs_nothing() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(10));
    let (_h1, w1) = world.worker("w1");
    let (_h2, w2) = world.worker("w2");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    for _ in 0..3 {
        let cut = cut_all([&w1, &w2, &a]);
        // A renewal is ten seconds old at the most when it begins.
        seconds(105).await;
        for gate in cut {
            gate.open();
        }
        seconds(20).await;
    }
    world.until_cleared(1).await;
    assert_eq!(world.log.executions(1).len(), 1);
}

/// What runs is ended, as nobody could know better; what has ended is told, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn an_outage_of_the_whole_store_loses_no_job_and_no_result() {
    let world = World::new();
    world.log.set_script(1, LONG);
    world.log.set_script(2, Duration::from_mins(1));
    let (_h1, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let (_h2, w2) = world.worker("w2");
    world.push_and_start(2, "w2").await;
    let cut = cut_all([&w1, &w2, &a]);
    seconds(600).await;
    for gate in cut {
        gate.open();
    }
    for id in [1, 2] {
        world.until_cleared(id).await;
        assert!(!world.log.overlaps(id));
        assert_eq!(world.gitlab.reports(id)[0].ending, Ending::Success);
    }
    assert_eq!(world.log.executions(1).len(), 2);
    assert_eq!(
        world.log.executions(2).len(),
        1,
        "its script had ended before its lease"
    );
}
