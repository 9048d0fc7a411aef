//! EC2's "terminated", known before the state is read, replaces silence and revocation.

use onspot_ledger::{AttemptPhase, Ending, Restart, Verdict};

use crate::world::{Op, World, seconds};

/// The accident: the leader reads the state, the worker confirms its result and ends, and only then
/// the leader learns "terminated". The state that it read is out of date.
#[tokio::test(start_paused = true)]
async fn without_it_what_was_read_before_the_end_misleads() {
    let world = World::new();
    let (_h1, w1) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    world.write_assigned(1, "w1").await;
    world.write_run(1, 1, "w1").await;
    world.until_started(1, "w1").await;
    let read_first = world.state("w1").await.unwrap().value;
    assert_eq!(read_first.jobs[&1].phase, AttemptPhase::Started);
    w1.connection.set_down(true);
    world.until_result(1, "w1").await;
    w1.crash();
    world.machines.end("w1");
    // "It had started, and is terminated": the leader moves on to the next attempt.
    world.write_next_attempt(1, "terminated").await;
    let (_h2, _w2) = world.worker("w2");
    let _b = world.manager("b");
    world.until_started(1, "w2").await;
    assert_eq!(world.log.runs_on(1), ["w1", "w2"], "it had a result");
}

#[tokio::test(start_paused = true)]
async fn with_it_the_state_is_read_after_the_end() {
    let world = World::new();
    world.log.set_script(1, std::time::Duration::from_mins(30));
    let (h1, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let reading = a.line.hold(Op::List, "order");
    reading.reached().await;
    // Its last write, and its end.
    let result = AttemptPhase::Result {
        verdict: Verdict::success(),
    };
    w1.crash();
    h1.kill_all();
    world
        .change_state("w1", |state| state.advance(1, 1, result))
        .await;
    world.machines.end("w1");
    seconds(6).await;
    reading.open();
    let (_h2, _w2) = world.worker("w2");
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
    assert_eq!(world.gitlab.reports(1)[0].ending, Ending::Success);
}

/// A state that was read before EC2 said that the worker is terminated does not count.
#[tokio::test(start_paused = true)]
async fn with_it_an_end_that_is_heard_of_after_the_state_was_read_is_left_for_the_next_round() {
    let world = World::new();
    world.log.set_script(1, std::time::Duration::from_mins(30));
    let (h1, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    w1.crash();
    // By now the leader has read its state, and no later one.
    seconds(5).await;
    let reading = a.line.hold_answers(Op::List, "state");
    reading.reached().await;
    // Its last write, and its end.
    let result = AttemptPhase::Result {
        verdict: Verdict::success(),
    };
    h1.kill_all();
    world
        .change_state("w1", |state| state.advance(1, 1, result))
        .await;
    world.machines.end("w1");
    seconds(6).await;
    reading.open();
    let (_h2, _w2) = world.worker("w2");
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
    assert_eq!(world.gitlab.reports(1)[0].ending, Ending::Success);
}

#[tokio::test(start_paused = true)]
async fn with_it_a_lost_worker_is_replaced_at_once_and_the_trace_says_so() {
    let world = World::new();
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let (_h2, _w2) = world.worker("w2");
    w1.crash();
    h1.kill_all();
    world.machines.end("w1");
    let ended = world.clock.steady();
    world.until_started(1, "w2").await;
    let took = world.clock.steady().saturating_sub(ended);
    assert!(took.as_secs() < 20, "{took:?}");
    world.until_cleared(1).await;
    let trace = world.gitlab.trace(1);
    assert!(
        trace.contains("worker w1 was terminated; attempt 2 runs on worker w2"),
        "{trace}"
    );
    seconds(10).await;
    assert!(world.state("w1").await.is_none() && world.order("w1").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn with_it_a_worker_that_ec2s_list_misses_keeps_its_job() {
    for vanishes in [
        crate::world::Machines::unlist,
        crate::world::Machines::unknow,
    ] {
        let world = World::new();
        world.log.set_script(1, std::time::Duration::from_mins(20));
        let (_h1, w1) = world.worker("w1");
        let a = world.manager("a");
        world.push_and_start(1, "w1").await;
        let (_h2, _w2) = world.worker("w2");
        vanishes(&world.machines, "w1");
        seconds(300).await;
        // A new leader never saw it listed at all.
        a.crash();
        let _b = world.manager("b");
        seconds(300).await;
        let record = world.record(1).await.unwrap().value;
        assert_eq!(record.attempt, 1);
        assert!(world.order("w1").await.unwrap().value.runs(1, 1));
        world.until_cleared(1).await;
        assert_eq!(world.log.runs_on(1), ["w1"], "nothing is handed on");
        seconds(60).await;
        assert!(world.order("w1").await.is_some(), "it lives, idle as it is");
        assert!(!w1.task.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn with_it_a_worker_that_ec2_does_not_know_and_that_is_silent_is_gone() {
    let world = World::new();
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    w1.crash();
    h1.kill_all();
    world.machines.unknow("w1");
    let (_h2, _w2) = world.worker("w2");
    seconds(170).await;
    assert_eq!(world.record(1).await.unwrap().value.attempt, 1);
    world.until_started(1, "w2").await;
    world.until_cleared(1).await;
    let gone = async || world.state("w1").await.is_none() && world.order("w1").await.is_none();
    world.until("nothing is left of w1", gone).await;
}
