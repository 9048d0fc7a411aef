//! A cancel is a result that the worker reports; the leader reports it only for a waiting job.

use onspot_ledger::{Ending, Verdict};
use onspot_runner::coordinator::Coordinator as _;

use crate::world::{World, seconds};

/// The accident: a leader that reports the cancel of a job that a worker has.
#[tokio::test(start_paused = true)]
async fn without_it_the_leader_and_the_worker_contradict_each_other() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let raw = world.gitlab.take(1);
    let payload = onspot_gitlab::AssignedJob::parse(raw).unwrap().job;
    a.connection
        .report(&payload, &Verdict::canceled(), None)
        .await
        .unwrap();
    world
        .until("both", async || world.gitlab.reports(1).len() == 2)
        .await;
    assert_ne!(
        world.gitlab.reports(1)[0].ending,
        world.gitlab.reports(1)[1].ending
    );
}

#[tokio::test(start_paused = true)]
async fn with_it_the_worker_reports_the_cancel_of_a_running_job() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    world.gitlab.cancel(1);
    world.until_cleared(1).await;
    let reports = world.gitlab.reports(1);
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (reports[0].by.as_str(), reports[0].ending),
        ("w1", Ending::Canceled)
    );
}

/// A late line of a deposed leader costs the worker its trace, but the worker still notices a
/// cancel.
#[tokio::test(start_paused = true)]
async fn with_it_the_worker_sees_a_cancel_even_without_its_trace() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    world.gitlab.supersede(1);
    seconds(1).await;
    world.gitlab.cancel(1);
    world.until_cleared(1).await;
    let reports = world.gitlab.reports(1);
    assert_eq!(
        (reports[0].by.as_str(), reports[0].ending),
        ("w1", Ending::Canceled)
    );
}

#[tokio::test(start_paused = true)]
async fn with_it_the_leader_reports_the_cancel_of_a_waiting_job() {
    let world = World::new();
    let _a = world.manager("a");
    seconds(5).await;
    let (_host, agent) = world.worker("w1");
    agent.crash();
    // The job is received because there is a place for it, which then disappears.
    world.gitlab.push(1);
    world.write_down(1, onspot_ledger::Restart::Allowed).await;
    seconds(15).await;
    world.gitlab.cancel(1);
    world.until_cleared(1).await;
    let reports = world.gitlab.reports(1);
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (reports[0].by.as_str(), reports[0].ending),
        ("a", Ending::Canceled)
    );
    assert!(world.log.executions(1).is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_it_a_canceled_job_of_a_lost_worker_is_not_run_again() {
    let world = World::new();
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    w1.crash();
    h1.kill_all();
    world.gitlab.cancel(1);
    world.machines.end("w1");
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"]);
    assert_eq!(world.gitlab.reports(1)[0].ending, Ending::Canceled);
}
