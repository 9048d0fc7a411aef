//! Whoever receives the 201 creates the record, leader or not; leaders list the records every
//! round.

use crate::world::{Op, World, seconds};

/// The accident: a manager drops a job that it receives because it does not lead any more.
#[tokio::test(start_paused = true)]
async fn without_it_a_job_held_by_a_deposed_leader_is_lost() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    world.gitlab.push(1);
    let _raw_in_a_deposed_leaders_hands = world.gitlab.take(1);
    let _b = world.manager("b");
    seconds(3600).await;
    assert!(!world.gitlab.is_over(1), "nobody knows of it");
}

#[tokio::test(start_paused = true)]
async fn with_it_the_receiver_writes_the_record_and_the_leader_finds_it() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let a = world.manager("a");
    seconds(5).await;
    // From here on A can't access the lead, and its request to GitLab is open.
    let _deposed = a.line.hold(Op::Any, "leader");
    let _no_more_rounds = a.line.hold(Op::List, "");
    let b = world.manager("b");
    // So that B does not get the job.
    b.connection.set_down(true);
    seconds(25).await;
    world.gitlab.push(1);
    seconds(1).await;
    assert!(world.gitlab.is_taken(1), "by A");
    b.connection.set_down(false);
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
}

/// A manager that knows that it is deposed does not drop the job from its last request.
#[tokio::test(start_paused = true)]
async fn with_it_a_deposed_receiver_writes_the_record_all_the_same() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let a = world.manager("a");
    seconds(5).await;
    let cut_off = a.line.hold(Op::Any, "leader");
    let b = world.manager("b");
    b.connection.set_down(true);
    seconds(25).await;
    // A finds out, while GitLab still holds its request.
    cut_off.open();
    seconds(6).await;
    assert!(world.leads("b").await);
    world.gitlab.push(1);
    seconds(1).await;
    assert!(world.gitlab.is_taken(1), "by A");
    b.connection.set_down(false);
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
}
