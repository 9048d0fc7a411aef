//! What a leader launches and terminates, apart from the jobs.

use std::sync::Arc;

use onspot_fleet::Policy;

use crate::world::{Host, World, seconds};

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_shutting_down_does_not_keep_the_next_from_being_bought() {
    let mut world = World::new();
    world.policy = Some(Policy {
        limit: 1,
        max_uses: 1,
        ..Policy::default()
    });
    let (_host, agent) = world.worker("w1");
    let _manager = world.manager("a");
    seconds(10).await;
    agent.crash();
    world.machines.shut_down("w1");
    seconds(10).await;
    world.gitlab.push(1);
    world
        .until("another machine is bought", async || {
            !world.machines.bought().is_empty()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_of_no_runner_is_ended_by_the_leader_after_a_time_of_grace() {
    let world = World::new();
    world.machines.add_stray("i-stray");
    let host = Arc::new(Host::new("i-stray", Arc::clone(&world.log)));
    let _agent = world.agent(&host);
    let _manager = world.manager("a");
    seconds(14 * 60).await;
    assert!(world.machines.ended().is_empty());
    seconds(2 * 60).await;
    assert_eq!(world.machines.ended(), ["i-stray"]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_tags_somebody_edited_is_no_stray() {
    let world = World::new();
    world.machines.add_stray("w1");
    let host = Arc::new(Host::new("w1", Arc::clone(&world.log)));
    let _agent = world.agent(&host);
    world.change_order("w1", Clone::clone).await;
    let _manager = world.manager("a");
    seconds(60 * 60).await;
    assert!(world.machines.ended().is_empty());
}
