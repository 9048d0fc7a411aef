//! Silence is timed by the leader's own clock from its own first sight of a value.

use jiff::{SignedDuration, Timestamp};
use onspot_ledger::Restart;
use onspot_runner::Clock;

use crate::world::{World, seconds};

/// The accident: the leader trusts the worker's own clock.
#[tokio::test(start_paused = true)]
async fn without_it_a_worker_whose_clock_is_slow_counts_as_dead() {
    let world = World::new();
    world.machines.add("w1");
    let host = std::sync::Arc::new(crate::world::Host::new("w1", world.log.clone()));
    let _agent = world.agent_with(&host, Clock::runtime(Timestamp::UNIX_EPOCH));
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    world.write_assigned(1, "w1").await;
    world.write_run(1, 1, "w1").await;
    world.until_started(1, "w1").await;
    let written_at = world.state("w1").await.unwrap().value.written_at;
    let silence = written_at.duration_until(world.clock.now());
    if silence > SignedDuration::try_from(world.timing.takeover).unwrap() {
        world.change_order("w1", |order| order.revoked(1, 1)).await;
        seconds(10).await;
        world.write_next_attempt(1, "it is silent").await;
    }
    let _a = world.manager("a");
    world.until_cleared(1).await;
    let attempts: Vec<_> = world.log.executions(1).iter().map(|e| e.attempt).collect();
    assert_eq!(attempts, [1, 2], "nothing was wrong with the first one");
}

#[tokio::test(start_paused = true)]
async fn with_it_that_worker_keeps_its_job() {
    let world = World::new();
    world.machines.add("w1");
    let host = std::sync::Arc::new(crate::world::Host::new("w1", world.log.clone()));
    // A day behind: only its deadlines use this clock.
    let _agent = world.agent_with(&host, Clock::runtime(Timestamp::UNIX_EPOCH));
    let _a = world.manager("a");
    seconds(5).await;
    world.gitlab.push(1);
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
}

#[tokio::test(start_paused = true)]
async fn with_it_a_new_leader_gives_a_worker_the_whole_time_again() {
    let world = World::new();
    let (_host, agent) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    agent.crash();
    seconds(170).await;
    a.crash();
    let _b = world.manager("b");
    seconds(170).await;
    let order = world.order("w1").await.unwrap().value;
    assert!(
        order.runs(1, 1),
        "B has known the silence for less than 180 s"
    );
    world
        .until("revoked", async || {
            world.record(1).await.unwrap().value.attempt == 2
        })
        .await;
}
