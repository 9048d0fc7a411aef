//! Record *done* → release the order → delete the record; every round also sweeps order entries
//! without a record.

use onspot_ledger::{Key, Ledger as _, Restart};

use crate::world::{Op, World, job, seconds};

/// The accident: the record goes first, its manager dies, and nobody looks for what it left.
#[tokio::test(start_paused = true)]
async fn without_it_an_order_stays_for_ever() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    world.write_run(1, 1, "w1").await;
    world.until("told", async || world.gitlab.is_over(1)).await;
    world
        .ledger
        .delete(Key::record(&job(1)).as_str())
        .await
        .unwrap();
    // Otherwise the payload would bring a record back.
    world
        .ledger
        .delete(Key::job_payload(&job(1)).as_str())
        .await
        .unwrap();
    seconds(3600).await;
    assert!(world.order("w1").await.unwrap().value.runs(1, 1));
    assert!(!world.state("w1").await.unwrap().value.jobs.is_empty());
    // The sweep repairs even that.
    let _b = world.manager("b");
    world.until_cleared(1).await;
    seconds(5).await;
    assert!(world.state("w1").await.unwrap().value.jobs.is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_it_a_manager_may_die_between_any_two_of_these_writes() {
    for step in ["order", "done", "job"] {
        let world = World::new();
        let (_host, _agent) = world.worker("w1");
        let a = world.manager("a");
        seconds(5).await;
        world.gitlab.push(1);
        world.until("told", async || world.gitlab.is_over(1)).await;
        let dying = a.line.hold(Op::Put, step);
        dying.reached().await;
        a.crash();
        let _b = world.manager("b");
        world.until_cleared(1).await;
        seconds(20).await;
        let left: Vec<String> = world
            .ledger
            .list("")
            .await
            .unwrap()
            .into_iter()
            .map(|object| object.key)
            .collect();
        assert_eq!(
            left,
            ["done/r/1", "leader", "order/AROA:w1", "state/AROA:w1"],
            "{step}"
        );
        assert_eq!(world.log.executions(1).len(), 1);
    }
}
