//! A worker stores *started*, waits for the answer, reads its order again, and starts the script
//! only if *run* stands and its lease holds; never twice for one attempt.

use onspot_ledger::Restart;

use crate::world::{Op, World, seconds};

/// The accident: a worker reads its order, stalls, and then starts an attempt that has moved to
/// another worker meanwhile.
#[tokio::test(start_paused = true)]
async fn without_it_a_stalled_worker_runs_beside_its_successor() {
    let world = World::new();
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    seconds(5).await;
    w1.line.hold(Op::Put, "state");
    world.gitlab.push(1);
    seconds(10).await;
    let order = world.order("w1").await.unwrap().value;
    assert!(order.runs(1, 1), "it has read this");
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    // It continues from there without reading its order again.
    let _script = h1.start(1, 1);
    assert!(world.log.overlaps(1));
}

#[tokio::test(start_paused = true)]
async fn with_it_the_stalled_worker_looks_again_and_leaves_it() {
    let world = World::new();
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    seconds(5).await;
    world.gitlab.push(1);
    world
        .until("it is ordered", async || {
            world.order("w1").await.unwrap().value.runs(1, 1)
        })
        .await;
    let stalled = w1.line.hold(Op::Put, "state");
    stalled.reached().await;
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    stalled.open();
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w2"]);
}

/// The worker's lease holds and *started* is stored, but it could not read the order after that.
#[tokio::test(start_paused = true)]
async fn with_it_a_worker_that_cannot_look_again_does_not_start() {
    let world = World::new();
    let (_host, w1) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    let stalled = w1.line.hold(Op::Put, "state");
    world.write_run(1, 1, "w1").await;
    seconds(10).await;
    let blind = w1.line.hold(Op::Get, "order");
    blind.reached().await;
    world.change_order("w1", |order| order.revoked(1, 1)).await;
    stalled.open();
    let started = async || {
        let state = world.state("w1").await.unwrap().value;
        state
            .jobs
            .get(&1)
            .is_some_and(|job| job.phase.has_started())
    };
    world.until("started is stored", started).await;
    seconds(20).await;
    assert!(world.log.executions(1).is_empty());
    blind.open();
    seconds(20).await;
    assert!(world.log.executions(1).is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_it_one_attempt_is_never_started_twice() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    world.write_run(1, 1, "w1").await;
    // The order never changes, and the attempt is over.
    seconds(3600).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
}
