//! *Assigned* with an absent order means: write the order.

use onspot_ledger::Restart;

use crate::world::{World, seconds};

/// The accident: a leader that only assigns waiting jobs (here: no leader at all) leaves the job
/// stuck.
#[tokio::test(start_paused = true)]
async fn without_it_the_job_is_stuck() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    world.write_down(1, Restart::Allowed).await;
    world.write_assigned(1, "w1").await;
    seconds(3600).await;
    assert!(world.log.executions(1).is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_it_a_new_leader_needs_nothing_else_to_go_on() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    world.write_down(1, Restart::Allowed).await;
    world.write_assigned(1, "w1").await;
    let _b = world.manager("b");
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
}
