//! If one object can't be read or written, or one job can't continue, all the others continue.

use std::time::Duration;

use onspot_ledger::{Condition, Ending, Key, Ledger as _, Restart, read};

use crate::world::{Op, World, job, seconds, worker_id};

/// Replaces an object by nonsense.
async fn spoil(world: &World, key: &str) {
    let found = world.ledger.get(key).await.unwrap();
    let condition = match found {
        Some((_, etag)) => Condition::Matches(etag),
        None => Condition::Absent,
    };
    let put = world.ledger.put_if(key, b"{".to_vec(), condition);
    put.await.unwrap();
}

/// What the leader reports as set aside.
async fn aside(world: &World) -> Vec<String> {
    let leader = read(&*world.ledger, &Key::leader()).await.unwrap().unwrap();
    leader.value.aside.into_keys().collect()
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_set_aside_and_said_and_the_others_go_on() {
    let world = World::new();
    spoil(&world, Key::order(&worker_id("w9")).as_str()).await;
    spoil(&world, Key::record(&job(99)).as_str()).await;
    spoil(&world, Key::state(&worker_id("w8")).as_str()).await;
    // A job whose record can't be read takes up a place like any other, because it may be running.
    let (_host, _agent) = world.worker("w1");
    let (_other_host, _other_agent) = world.worker("w2");
    let _a = world.manager("a");
    world.gitlab.push(1);
    world.until_cleared_but_for(1, "w9").await;
    seconds(10).await;
    assert_eq!(
        aside(&world).await,
        ["job/r/99", "order/AROA:w9", "state/AROA:w8"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiting_job_whose_payload_is_lost_is_ended_and_stops_no_other() {
    let world = World::new();
    world.write_down(5, Restart::Allowed).await;
    let _a = world.manager("a");
    seconds(10).await;
    let payload = Key::job_payload(&job(5));
    world.ledger.delete(payload.as_str()).await.unwrap();
    let (_host, _agent) = world.worker("w1");
    world.gitlab.push(1);
    world.until_cleared(1).await;
    world.until_cleared(5).await;
    let reports = world.gitlab.reports(5);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].reason.as_deref(), Some("runner_system_failure"));
    assert!(world.log.executions(5).is_empty());
}

/// The record says that a worker has the job, but the order was never written.
#[tokio::test(start_paused = true)]
async fn an_assigned_job_whose_payload_is_lost_is_ended_by_what_its_attempt_was_given() {
    for told in [true, false] {
        let world = World::new();
        let (_host, _agent) = world.worker("w1");
        world.write_down(5, Restart::Allowed).await;
        world.write_assigned(5, "w1").await;
        if told {
            world.write_work(5, 1, "w1").await;
        }
        let payload = Key::job_payload(&job(5));
        world.ledger.delete(payload.as_str()).await.unwrap();
        let _a = world.manager("a");
        world.gitlab.push(1);
        world.until_cleared(1).await;
        let released = async || world.record(5).await.is_none();
        world.until("it is released", released).await;
        assert_eq!(world.gitlab.is_over(5), told);
        assert!(world.log.executions(5).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_record_cannot_be_written_stops_no_other() {
    let world = World::new();
    world.write_down(5, Restart::Allowed).await;
    let (_h1, _w1) = world.worker("w1");
    let (_h2, _w2) = world.worker("w2");
    let a = world.manager("a");
    let cut = a.line.cut(Op::Put, "job/r/5");
    for id in 1..=3 {
        world.gitlab.push(id);
        world.until_cleared(id).await;
    }
    assert!(aside(&world).await.contains(&"job/r/5".to_owned()));
    cut.open();
    world.until_cleared(5).await;
    seconds(10).await;
    assert!(aside(&world).await.is_empty());
}

/// The leader can't read one worker's state for ten minutes, which proves nothing about the worker.
#[tokio::test(start_paused = true)]
async fn a_state_that_is_not_answered_costs_its_worker_nothing() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(15));
    let (_h1, _w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let cut = a.line.cut(Op::Get, "state/AROA:w1");
    let (_h2, _w2) = world.worker("w2");
    world.gitlab.push(2);
    world.until_cleared(2).await;
    seconds(600).await;
    assert_eq!(world.record(1).await.unwrap().value.attempt, 1);
    assert_eq!(world.machines.live(), ["w1", "w2"]);
    cut.open();
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
}

/// Nobody can write that worker's order any more, and the worker can't read it.
#[tokio::test(start_paused = true)]
async fn a_worker_whose_order_is_spoilt_is_replaced_and_its_result_is_used() {
    let world = World::new();
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    spoil(&world, Key::order(&worker_id("w1")).as_str()).await;
    let (_h2, _w2) = world.worker("w2");
    world.gitlab.push(2);
    world.until_cleared_but_for(2, "w1").await;
    world
        .until("w1 is given back", async || world.machines.live() == ["w2"])
        .await;
    w1.crash();
    h1.kill_all();
    world.until_cleared_but_for(1, "w1").await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
    assert_eq!(world.gitlab.reports(1)[0].ending, Ending::Success);
    let gone = async || world.ledger.get("order/AROA:w1").await.unwrap().is_none();
    world.until("its order is removed", gone).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_record_is_spoilt_is_ended_when_its_time_is_over() {
    let world = World::new();
    world.write_down(5, Restart::Allowed).await;
    spoil(&world, Key::record(&job(5)).as_str()).await;
    let _a = world.manager("a");
    seconds(3600).await;
    assert!(!world.gitlab.is_over(5), "somebody may mend it");
    let over =
        async || world.gitlab.is_over(5) && world.ledger.list("job/").await.unwrap().is_empty();
    world.until("it is ended", over).await;
    assert_eq!(
        world.gitlab.reports(5)[0].reason.as_deref(),
        Some("runner_system_failure")
    );
}

/// After a single failed read, the leader must not forget what the worker reported about the job.
#[tokio::test(start_paused = true)]
async fn a_result_outlives_a_record_that_was_not_answered() {
    let world = World::new();
    let (_h1, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    w1.connection.set_down(true);
    world.until_result(1, "w1").await;
    a.crash();
    w1.crash();
    world.machines.end("w1");
    let b = world.manager("b");
    let unanswered = b.line.cut(Op::Get, "job/r/1");
    unanswered.reached().await;
    let (_h2, _w2) = world.worker("w2");
    seconds(300).await;
    assert!(world.state("w1").await.is_some());
    unanswered.open();
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"], "it is not run again");
    assert_eq!(world.gitlab.reports(1).len(), 1);
}
