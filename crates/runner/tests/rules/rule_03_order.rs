//! An order is one object, changed only by `If-Match`, kept while the instance may live.

use onspot_ledger::{Key, Ledger as _, Order, Restart, create};

use crate::world::{Op, World, runner, seconds, worker_id};

/// The accident: orders are created when needed and removed afterwards. A paused manager's create
/// succeeds after the release.
#[tokio::test(start_paused = true)]
async fn without_it_an_old_attempt_runs_beside_the_new_one() {
    let world = World::new();
    let (_h1, _w1) = world.worker("w1");
    let (_h2, _w2) = world.worker("w2");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    world.write_assigned(1, "w1").await;
    world.write_work(1, 1, "w1").await;
    let paused = Order::empty(&runner()).asked(1, 1);
    // Meanwhile another manager has found w1 silent and moved the job to w2; w1's order is gone.
    world.write_next_attempt(1, "silent").await;
    world.write_assigned(1, "w2").await;
    world.write_run(1, 2, "w2").await;
    world.until_started(1, "w2").await;
    let key = Key::order(&worker_id("w1"));
    assert!(
        create(&*world.ledger, &key, paused)
            .await
            .unwrap()
            .is_some()
    );
    world.until_started(1, "w1").await;
    assert!(world.log.overlaps(1));
}

#[tokio::test(start_paused = true)]
async fn with_it_the_paused_managers_write_is_refused() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let a = world.manager("a");
    seconds(5).await;
    let order = world.order("w1").await.unwrap().value;
    assert!(
        order.entries.is_empty(),
        "born empty, before anything is asked"
    );
    let paused = a.line.hold(Op::Put, "order");
    world.gitlab.push(1);
    paused.reached().await;
    let _deposed = a.line.hold(Op::Any, "leader");
    let _b = world.manager("b");
    world.until_cleared(1).await;
    let kept = world.order("w1").await.expect("kept: the instance lives");
    paused.open();
    seconds(300).await;
    assert_eq!(world.order("w1").await, Some(kept), "not even for a moment");
    assert_eq!(world.log.runs_on(1), ["w1"]);
    assert_eq!(world.gitlab.reports(1).len(), 1);
}

/// An absent order asks for nothing, so running jobs are stopped.
#[tokio::test(start_paused = true)]
async fn with_it_jobs_stop_when_their_order_is_gone() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    world.write_run(1, 1, "w1").await;
    world.until_started(1, "w1").await;
    let order = Key::order(&worker_id("w1"));
    world.ledger.delete(order.as_str()).await.unwrap();
    seconds(5).await;
    let state = world.state("w1").await.unwrap().value;
    assert!(state.jobs[&1].phase.is_over());
    assert!(world.log.executions(1)[0].to.is_some());
}
