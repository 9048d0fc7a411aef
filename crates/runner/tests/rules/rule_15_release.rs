//! An entry becomes absent only after the record has left that attempt; only then does the worker
//! drop its own entry in its state.

use onspot_ledger::Restart;

use crate::world::{Op, World, seconds};

/// The accident: revoking by deleting.
#[tokio::test(start_paused = true)]
async fn without_it_the_successor_orders_what_the_worker_has_forgotten() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Never).await;
    world.write_assigned(1, "w1").await;
    world.write_run(1, 1, "w1").await;
    world.until_started(1, "w1").await;
    world.change_order("w1", |order| order.released(1)).await;
    world
        .until("forgotten", async || {
            world.state("w1").await.unwrap().value.jobs.is_empty()
        })
        .await;
    let _b = world.manager("b");
    world
        .until("again", async || world.log.executions(1).len() == 2)
        .await;
    let executions = world.log.executions(1);
    assert_eq!(
        (executions[0].attempt, executions[1].attempt),
        (1, 1),
        "one attempt, run twice"
    );
}

#[tokio::test(start_paused = true)]
async fn with_it_a_revoked_attempt_is_remembered_until_the_record_has_left_it() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    world.write_assigned(1, "w1").await;
    world.write_run(1, 1, "w1").await;
    world.until_started(1, "w1").await;
    world.change_order("w1", |order| order.revoked(1, 1)).await;
    seconds(600).await;
    let state = world.state("w1").await.unwrap().value;
    assert!(
        state.jobs[&1].phase.is_over(),
        "given up, and not forgotten"
    );
    let _b = world.manager("b");
    world.until_cleared(1).await;
    let attempts: Vec<_> = world.log.executions(1).iter().map(|e| e.attempt).collect();
    assert_eq!(attempts, [1, 2]);
}

/// The leader does not release what it has revoked before the worker has reported that it stopped.
#[tokio::test(start_paused = true)]
async fn with_it_the_order_says_revoked_until_the_worker_has_given_the_attempt_up() {
    let world = World::new();
    world.log.set_script(1, std::time::Duration::from_mins(20));
    let (_host, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let unheard = w1.line.hold(Op::Get, "order");
    unheard.reached().await;
    world.change_order("w1", |order| order.revoked(1, 1)).await;
    seconds(20).await;
    assert!(world.order("w1").await.unwrap().value.revokes(1, 1));
    unheard.open();
    world.until_cleared(1).await;
    let attempts: Vec<_> = world.log.executions(1).iter().map(|e| e.attempt).collect();
    assert_eq!(attempts, [1, 2]);
}
