//! A round reads the order, then the record, then the state, and writes only against those
//! versions.

use onspot_ledger::Restart;

use crate::world::{Op, World, seconds, worker_id};

/// The accident: an old record with a fresh order "repairs" a released order.
#[tokio::test(start_paused = true)]
async fn without_it_a_released_order_is_written_again() {
    let world = World::new();
    let (_h1, _w1) = world.worker("w1");
    let (_h2, _w2) = world.worker("w2");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    let old_record = world.write_assigned(1, "w1").await.value;
    // The job is taken back from w1, which forgets it, and goes to w2.
    world.write_run(1, 1, "w1").await;
    seconds(1).await;
    world.change_order("w1", |order| order.revoked(1, 1)).await;
    seconds(5).await;
    world.write_next_attempt(1, "taken back").await;
    world.change_order("w1", |order| order.released(1)).await;
    seconds(5).await;
    world.write_assigned(1, "w2").await;
    world.write_run(1, 2, "w2").await;
    world.until_started(1, "w2").await;
    // The manager that has read the record earlier now reads the order: assigned, but absent.
    let fresh_order = world.order("w1").await.unwrap().value;
    assert!(old_record.holds(&worker_id("w1"), 1) && fresh_order.entries.is_empty());
    world.change_order("w1", |order| order.asked(1, 1)).await;
    world.until_started(1, "w1").await;
    assert!(world.log.overlaps(1));
}

#[tokio::test(start_paused = true)]
async fn with_it_the_old_round_comes_to_nothing() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let a = world.manager("a");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    let busy = a.line.hold(Op::List, "order");
    busy.reached().await;
    world.write_assigned(1, "w1").await;
    // A reads "absent" and "assigned", and is paused before it has read the states.
    let paused = a.line.hold(Op::List, "state");
    busy.open();
    paused.reached().await;
    let _deposed = a.line.hold(Op::Any, "leader");
    let _b = world.manager("b");
    world.until_cleared(1).await;
    paused.open();
    seconds(300).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
    assert!(world.order("w1").await.unwrap().value.entries.is_empty());
}

/// The attempt that the old round would order again already runs elsewhere.
#[tokio::test(start_paused = true)]
async fn with_it_an_old_round_starts_nothing_beside_the_next_attempt() {
    let world = World::new();
    world.log.set_script(1, std::time::Duration::from_mins(40));
    let (_h1, _w1) = world.worker("w1");
    let a = world.manager("a");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    let busy = a.line.hold(Op::List, "order");
    busy.reached().await;
    world.write_assigned(1, "w1").await;
    let paused = a.line.hold(Op::List, "state");
    busy.open();
    paused.reached().await;
    let _deposed = a.line.hold(Op::Any, "leader");
    let _b = world.manager("b");
    world.until_started(1, "w1").await;
    let (_h2, _v2) = world.worker("v2");
    seconds(5).await;
    world.change_order("w1", |order| order.revoked(1, 1)).await;
    world.until_started(1, "v2").await;
    world
        .until("w1 has forgotten it", async || {
            world.state("w1").await.unwrap().value.jobs.is_empty()
        })
        .await;
    let order = world.order("w1").await;
    paused.open();
    seconds(60).await;
    assert_eq!(world.order("w1").await, order);
    assert_eq!(world.log.runs_on(1), ["w1", "v2"]);
    assert!(!world.log.overlaps(1));
}
