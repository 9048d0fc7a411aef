//! Assigning is two writes: the record first, then the order.

use onspot_ledger::Restart;

use crate::world::{Op, World, seconds};

/// The accident: the order is written first, and the leader dies before the record.
#[tokio::test(start_paused = true)]
async fn without_it_two_workers_run_one_job() {
    let world = World::new();
    let (_h1, w1) = world.worker("w1");
    let (_h2, _w2) = world.worker("w2");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    world.write_run(1, 1, "w1").await;
    world.until_started(1, "w1").await;
    // The successor sees a job that waits and assigns it. At best, w1 learns of that at its next
    // look.
    let _slow = w1.line.hold(Op::Get, "order");
    world.machines.add("busy");
    let _b = world.manager("b");
    world
        .until("two run", async || world.log.executions(1).len() == 2)
        .await;
    assert!(world.log.overlaps(1));
}

#[tokio::test(start_paused = true)]
async fn with_it_the_successor_goes_on_with_the_same_worker() {
    let world = World::new();
    let (_h1, _w1) = world.worker("w1");
    let (_h2, _w2) = world.worker("w2");
    let a = world.manager("a");
    seconds(5).await;
    let between = a.line.hold(Op::Put, "order");
    world.gitlab.push(1);
    between.reached().await;
    let assigned = world.record(1).await.unwrap().value;
    assert!(assigned.worker().is_some(), "the record comes first");
    a.crash();
    let _b = world.manager("b");
    world.until_cleared(1).await;
    assert_eq!(
        world.log.runs_on(1),
        [assigned.worker().unwrap().instance()]
    );
}
