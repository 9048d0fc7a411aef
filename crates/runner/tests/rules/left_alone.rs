//! Workers without a leader finish their jobs and shut themselves down.

use std::time::Duration;

use crate::world::{World, seconds};

fn world() -> World {
    World {
        ends_itself: true,
        ..World::new()
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_a_leader_finishes_its_job_and_ends_itself() {
    let world = world();
    world.log.set_script(1, Duration::from_mins(40));
    let (_host, agent) = world.worker("w1");
    let manager = world.manager("a");
    world.push_and_start(1, "w1").await;
    manager.crash();
    seconds(30 * 60).await;
    assert!(!agent.task.is_finished(), "its job still runs");
    world
        .until("the job is told", async || world.gitlab.is_over(1))
        .await;
    world
        .until("the worker ends", async || agent.task.is_finished())
        .await;
    assert!(world.log.runs_on(1).contains(&"w1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_outlives_a_change_of_leaders_and_not_their_end() {
    let world = world();
    let (_host, agent) = world.worker("w1");
    let a = world.manager("a");
    seconds(3600).await;
    a.crash();
    seconds(5 * 60).await;
    let b = world.manager("b");
    seconds(3600).await;
    assert!(!agent.task.is_finished());
    b.crash();
    seconds(14 * 60).await;
    assert!(!agent.task.is_finished());
    seconds(3 * 60).await;
    assert!(agent.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_too_old_takes_no_job_more_and_ends_itself() {
    let mut world = world();
    world.timing.max_age = Duration::from_hours(2);
    let (_host, agent) = world.worker("w1");
    let _manager = world.manager("a");
    world.log.set_script(1, Duration::from_mins(30));
    seconds(110 * 60).await;
    world.push_and_start(1, "w1").await;
    world.gitlab.push(2);
    world
        .until("the worker ends", async || agent.task.is_finished())
        .await;
    assert!(world.gitlab.is_over(1));
    assert!(world.log.runs_on(2).is_empty());
}
