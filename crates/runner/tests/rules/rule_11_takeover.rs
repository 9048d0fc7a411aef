//! To take over: write *revoked*, then read the state.

use onspot_ledger::{AttemptPhase, Ending, Key, Restart, Verdict, replace};
use onspot_runner::coordinator::Coordinator as _;

use crate::world::{Op, World, job, seconds};

/// The accident: the worker confirms a result between reading and revoking.
#[tokio::test(start_paused = true)]
async fn without_it_a_job_with_a_result_is_executed_again() {
    let world = World::new();
    let (_h1, w1) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    let record = world.write_assigned(1, "w1").await;
    world.write_run(1, 1, "w1").await;
    world.until_started(1, "w1").await;
    let read_first = world.state("w1").await.unwrap().value;
    assert_eq!(read_first.jobs[&1].phase, AttemptPhase::Started);
    w1.connection.set_down(true);
    world.until_result(1, "w1").await;
    w1.crash();
    // "It is silent and had started": the leader revokes and moves on to the next attempt.
    world.change_order("w1", |order| order.revoked(1, 1)).await;
    let next = record
        .value
        .next_attempt("silent", true, None, world.clock.now())
        .unwrap();
    replace(&*world.ledger, &Key::record(&job(1)), &record, next)
        .await
        .unwrap()
        .unwrap();
    let (_h2, _w2) = world.worker("w2");
    let _b = world.manager("b");
    world.until_started(1, "w2").await;
    assert_eq!(world.log.runs_on(1), ["w1", "w2"]);
}

#[tokio::test(start_paused = true)]
async fn with_it_a_result_of_the_last_moment_is_adopted() {
    let world = World::new();
    world.log.set_script(1, std::time::Duration::from_mins(30));
    let (_h1, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    w1.crash();
    let revoking = a.line.hold_answers(Op::Put, "order");
    revoking.reached().await;
    assert!(world.order("w1").await.unwrap().value.revokes(1, 1));
    // What w1 had sent before it died is applied only now.
    let verdict = Verdict {
        exit_code: Some(7),
        ..Verdict::failed("script_failure", "exit 7")
    };
    let result = AttemptPhase::Result { verdict };
    world
        .change_state("w1", |state| state.advance(1, 1, result))
        .await;
    revoking.open();
    let (_h2, _w2) = world.worker("w2");
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"], "it is not run again");
    let reports = world.gitlab.reports(1);
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (reports[0].by.as_str(), reports[0].ending),
        ("a", Ending::Failed)
    );
}

#[tokio::test(start_paused = true)]
async fn with_it_a_started_attempt_that_is_alive_is_waited_for() {
    let world = World::new();
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let deaf = w1.line.cut(Op::Get, "order");
    world.change_order("w1", |order| order.revoked(1, 1)).await;
    let (_h2, _w2) = world.worker("w2");
    seconds(30).await;
    assert_eq!(
        world.record(1).await.unwrap().value.attempt,
        1,
        "it lives, and has not stopped"
    );
    deaf.open();
    world.until_cleared(1).await;
    assert!(!world.log.overlaps(1));
    let told = world.gitlab.reports(1);
    assert_eq!(told.len(), 1);
    w1.connection.keep_alive(&payload(&world)).await.unwrap();
}

/// The worker is alive, but can't read or is stuck for good, so its instance is terminated.
#[tokio::test(start_paused = true)]
async fn with_it_a_worker_that_never_gives_up_is_terminated() {
    let world = World::new();
    world.log.set_script(1, std::time::Duration::from_mins(50));
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    w1.line.cut(Op::Get, "order");
    world.change_order("w1", |order| order.revoked(1, 1)).await;
    let (_h2, _w2) = world.worker("w2");
    seconds(170).await;
    assert_eq!(world.machines.live(), ["w1", "w2"]);
    world
        .until("w1 is terminated", async || world.machines.live() == ["w2"])
        .await;
    w1.crash();
    h1.kill_all();
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1", "w2"]);
    assert!(!world.log.overlaps(1));
}

fn payload(world: &World) -> onspot_gitlab::JobPayload {
    onspot_gitlab::AssignedJob::parse(world.gitlab.take(1))
        .unwrap()
        .job
}
