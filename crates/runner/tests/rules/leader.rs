//! Leaders in trouble: a failure of one part must not stop the rest.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use onspot_ledger::{
    BootId, Condition, JobKey, JobLabel, Key, Ledger as _, Order, Record, Restart, RunnerName,
    State, create, read,
};

use crate::world::{Op, World, seconds, worker_id};

/// Who leads.
async fn holder(world: &World) -> Option<String> {
    let leader = read(&*world.ledger, &Key::leader()).await.unwrap()?;
    leader.value.holder.map(|manager| manager.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_rounds_have_died_steps_down() {
    let world = World::new();
    let a = world.manager("a");
    // Not at the same moments at which the first one looks.
    seconds(7).await;
    let _b = world.manager("b");
    assert_eq!(holder(&world).await.as_deref(), Some("a"));
    let broken = a.line.break_down(Op::List, "");
    let leads = async || holder(&world).await.as_deref() == Some("b");
    world.until("b leads", leads).await;
    broken.open();
    let (_host, _agent) = world.worker("w1");
    world.gitlab.push(1);
    world.until_cleared(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_asked_to_end_steps_down_at_once() {
    let world = World::new();
    let a = world.manager("a");
    seconds(5).await;
    a.shutdown.cancel();
    seconds(5).await;
    assert_eq!(holder(&world).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_stops_nobody_else() {
    let world = World::new();
    let key = Key::state(&worker_id("w9"));
    let put = world
        .ledger
        .put_if(key.as_str(), b"{}".to_vec(), Condition::Absent);
    put.await.unwrap();
    let (_host, _agent) = world.worker("w1");
    let _a = world.manager("a");
    world.gitlab.push(1);
    world.until_cleared(1).await;
    let gone = async || world.ledger.get(key.as_str()).await.unwrap().is_none();
    world.until("it is removed with its machine", gone).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_runner_that_is_not_configured_any_more_goes_in_the_end() {
    let world = World::new();
    let (old, now) = (RunnerName::new("old"), world.clock.now());
    let job = JobKey::new(&old, 7);
    let deadline = now + SignedDuration::from_mins(10);
    let record = Record::received(JobLabel::default(), Restart::Allowed, now, deadline);
    let w8 = worker_id("w8");
    let record = record.assigned(&w8, None, now).unwrap();
    let order = Order::empty(&old).asked(7, 1);
    let mut state = State::first(&BootId::new("b"), "1", 1, Timestamp::UNIX_EPOCH);
    state.accept(7, 1, now);
    let ledger = &*world.ledger;
    create(ledger, &Key::record(&job), record).await.unwrap();
    create(ledger, &Key::order(&w8), order).await.unwrap();
    create(ledger, &Key::state(&w8), state).await.unwrap();
    let _a = world.manager("a");
    seconds(120).await;
    assert!(read(ledger, &Key::record(&job)).await.unwrap().is_some());
    seconds(2 * 3600).await;
    let left = ledger.list("").await.unwrap().into_iter();
    let left: Vec<String> = left.map(|object| object.key).collect();
    assert_eq!(left, ["done/old/7", "leader"]);
    seconds(25 * 3600).await;
    assert!(ledger.list("done/").await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn traces_are_handed_over_at_the_same_time() {
    let world = World::new();
    world.gitlab.set_closing(Duration::from_secs(4));
    let jobs = 1..=6;
    for id in jobs.clone() {
        world.write_down(id, Restart::Allowed).await;
    }
    let _a = world.manager("a");
    seconds(20).await;
    let _workers: Vec<_> = jobs
        .clone()
        .map(|number| world.worker(&format!("w{number}")))
        .collect();
    let begun = world.clock.steady();
    let all_run = async || jobs.clone().all(|id| !world.log.executions(id).is_empty());
    world.until("all run", all_run).await;
    let took = world.clock.steady().saturating_sub(begun);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// GitLab may answer the request that it holds with a job, and a 201 that nobody reads is a lost
/// job.
#[tokio::test(start_paused = true)]
async fn a_held_request_at_the_end_is_answered_before_the_lead_is_given_away() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let a = world.manager("a");
    seconds(5).await;
    let _b = world.manager("b");
    a.shutdown.cancel();
    seconds(30).await;
    assert_eq!(
        holder(&world).await.as_deref(),
        Some("a"),
        "it renews meanwhile"
    );
    world.gitlab.push(1);
    seconds(5).await;
    assert!(world.gitlab.is_taken(1));
    let leads = async || holder(&world).await.as_deref() == Some("b");
    world.until("b leads", leads).await;
    a.task.await.unwrap();
    world.until_cleared(1).await;
    assert_eq!(world.log.executions(1).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_to_end_asks_for_nothing_more_and_ends() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let a = world.manager("a");
    seconds(5).await;
    let asked = a.connection.asked();
    a.shutdown.cancel();
    seconds(60).await;
    assert_eq!((a.connection.asked(), a.task.is_finished()), (asked, true));
    assert_eq!(holder(&world).await, None);
}

/// The cause of the rounds' death may be in the ledger, so beginning again at once would kill them
/// again.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_rounds_keep_dying_leaves_the_lead_alone_for_longer_each_time() {
    let world = World::new();
    let a = world.manager("a");
    let broken = a.line.break_down(Op::List, "");
    seconds(1200).await;
    let leader = read(&*world.ledger, &Key::leader()).await.unwrap().unwrap();
    assert!(
        (3..=7).contains(&leader.value.term),
        "{}",
        leader.value.term
    );
    broken.open();
    let (_host, _agent) = world.worker("w1");
    world.gitlab.push(1);
    world.until_cleared(1).await;
}

#[tokio::test(start_paused = true)]
async fn the_warning_of_a_failed_attempt_stands_in_the_trace_once_whoever_leads() {
    let world = World::new();
    let (h1, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    w1.crash();
    h1.kill_all();
    world.machines.end("w1");
    seconds(60).await;
    a.crash();
    let b = world.manager("b");
    seconds(60).await;
    b.crash();
    let _c = world.manager("c");
    seconds(60).await;
    let trace = world.gitlab.trace(1);
    assert_eq!(trace.matches("Attempt 1 failed").count(), 1, "{trace}");
    assert!(!trace.contains("looked at"), "{trace}");
    let (_h2, _w2) = world.worker("w2");
    world.until_cleared(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_is_noticed_and_one_whose_ledger_fails_is_not() {
    let limit = Duration::from_secs(90);
    let world = World::new();
    let (_host, agent) = world.worker("w1");
    let a = world.manager("a");
    seconds(5).await;
    let gates = [a.line.cut(Op::Any, ""), agent.line.cut(Op::Any, "")];
    for _ in 0..60 {
        seconds(10).await;
        assert_eq!(world.liveness.stuck(limit), [""; 0]);
    }
    for gate in gates {
        gate.open();
    }
    seconds(60).await;
    for (line, prefix, name) in [
        (&a.line, "job", "the rounds"),
        (&a.line, "leader", "the manager's loop"),
        (&agent.line, "state", "the state's writer"),
    ] {
        let hangs = line.hold(Op::Any, prefix);
        seconds(120).await;
        assert!(world.liveness.stuck(limit).contains(&name), "{name}");
        hangs.open();
        seconds(60).await;
        assert_eq!(world.liveness.stuck(limit), [""; 0], "{name}");
    }
}
