//! A restarted agent kills leftovers, loads its own stored state, gives up what it had started,
//! resumes a result, and never runs an attempt again that is listed there.

use std::time::Duration;

use onspot_ledger::{Ending, Key, Ledger as _, Restart};

use crate::world::{Op, World, seconds, worker_id};

/// The accident: an agent that starts from nothing.
#[tokio::test(start_paused = true)]
async fn without_it_the_order_is_executed_a_second_time() {
    let world = World::new();
    let (host, agent) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Never).await;
    world.write_run(1, 1, "w1").await;
    world.until_started(1, "w1").await;
    agent.crash();
    world
        .ledger
        .delete(Key::state(&worker_id("w1")).as_str())
        .await
        .unwrap();
    let _restarted = world.agent(&host);
    world
        .until("again", async || world.log.executions(1).len() == 2)
        .await;
    assert_eq!(world.log.executions(1)[1].attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn with_it_a_started_attempt_is_given_up_and_the_next_one_runs() {
    let world = World::new();
    let (host, agent) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    agent.crash();
    seconds(5).await;
    let _restarted = world.agent(&host);
    world.until_cleared(1).await;
    let executions = world.log.executions(1);
    assert_eq!(
        executions.iter().map(|e| e.attempt).collect::<Vec<_>>(),
        [1, 2]
    );
    assert!(!world.log.overlaps(1), "the leftovers were killed first");
    let trace = world.gitlab.trace(1);
    assert!(
        trace.contains("worker w1 gave it up: its agent was restarted"),
        "{trace}"
    );
}

#[tokio::test(start_paused = true)]
async fn with_it_a_job_that_must_not_run_twice_fails() {
    let world = World::new();
    let (host, agent) = world.worker("w1");
    let _a = world.manager("a");
    seconds(5).await;
    world
        .gitlab
        .push_with(1, &[("CI_ENVIRONMENT_NAME", "production")]);
    world.until_started(1, "w1").await;
    agent.crash();
    let _restarted = world.agent(&host);
    world.until_cleared(1).await;
    assert_eq!(world.log.executions(1).len(), 1);
    let report = &world.gitlab.reports(1)[0];
    assert_eq!(report.ending, Ending::Failed);
    assert_eq!(report.reason.as_deref(), Some("runner_system_failure"));
}

#[tokio::test(start_paused = true)]
async fn with_it_a_stored_result_is_told() {
    let world = World::new();
    let (host, agent) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    world.write_run(1, 1, "w1").await;
    world.until_started(1, "w1").await;
    agent.connection.set_down(true);
    world.until_result(1, "w1").await;
    agent.crash();
    let _restarted = world.agent(&host);
    world
        .until("it is told", async || world.gitlab.is_over(1))
        .await;
    assert_eq!(world.log.executions(1).len(), 1);
    assert_eq!(world.gitlab.reports(1)[0].ending, Ending::Success);
}

/// Lost answers: an agent knows its own write by boot id and counter.
#[tokio::test(start_paused = true)]
async fn an_agent_knows_its_own_write_when_the_answer_is_lost() {
    let world = World::new();
    let (_host, agent) = world.worker("w1");
    let _a = world.manager("a");
    seconds(5).await;
    let lost = agent.line.lose_answers(Op::Put, "state");
    world.gitlab.push(1);
    seconds(40).await;
    lost.open();
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_starts_or_works_hears_a_stop_while_the_ledger_hangs() {
    for begun in [0, 5] {
        let world = World::new();
        let (_host, agent) = world.worker("w1");
        tokio::time::sleep(Duration::from_secs(begun)).await;
        let hanging = agent.line.hold(Op::Any, "");
        hanging.reached().await;
        agent.shutdown.cancel();
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, agent.task)
            .await
            .unwrap()
            .unwrap();
    }
}
