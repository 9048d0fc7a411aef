//! Every verdict that a manager tells GitLab stands in the record first; from then on any manager
//! may tell, and 403 means done.

use onspot_gitlab::RemoteStatus;
use onspot_ledger::{Ending, Phase, Restart, Verdict};
use onspot_runner::coordinator::Coordinator as _;

use crate::world::{Op, World, seconds};

/// The accident: a paused former leader reports *canceled* while the job is assigned and starts.
#[tokio::test(start_paused = true)]
async fn without_it_two_results_are_told() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    let ex_leader = world.gitlab.connect("ex-leader", &world.clock);
    let _b = world.manager("b");
    world.until_started(1, "w1").await;
    let raw = world.gitlab.take(1);
    let payload = onspot_gitlab::AssignedJob::parse(raw).unwrap().job;
    ex_leader
        .report(&payload, &Verdict::canceled(), None)
        .await
        .unwrap();
    world
        .until("both", async || world.gitlab.reports(1).len() == 2)
        .await;
    let endings: Vec<_> = world
        .gitlab
        .reports(1)
        .iter()
        .map(|report| report.ending)
        .collect();
    assert_eq!(endings, [Ending::Canceled, Ending::Success]);
}

#[tokio::test(start_paused = true)]
async fn with_it_the_ex_leaders_verdict_is_refused_by_the_record() {
    let world = World::new();
    let a = world.manager("a");
    a.connection.see(RemoteStatus::Canceled);
    seconds(5).await;
    let paused = a.line.hold(Op::Put, "job");
    world.write_down(1, Restart::Allowed).await;
    paused.reached().await;
    let _deposed = a.line.hold(Op::Any, "leader");
    let (_host, _agent) = world.worker("w1");
    let _b = world.manager("b");
    world.until_started(1, "w1").await;
    paused.open();
    world.until_cleared(1).await;
    seconds(300).await;
    let endings: Vec<_> = world
        .gitlab
        .reports(1)
        .iter()
        .map(|report| report.ending)
        .collect();
    assert_eq!(endings, [Ending::Success]);
}

#[tokio::test(start_paused = true)]
async fn with_it_any_manager_may_tell_what_stands_in_the_record() {
    let world = World::new();
    let a = world.manager("a");
    seconds(5).await;
    world.write_down(1, Restart::Allowed).await;
    seconds(15).await;
    a.connection.set_down(true);
    world.gitlab.cancel(1);
    world
        .until("it stands in the record", async || {
            let record = world.record(1).await.unwrap().value;
            matches!(record.phase, Phase::Finishing { .. })
        })
        .await;
    assert!(!world.gitlab.is_over(1));
    a.crash();
    let _b = world.manager("b");
    world.until_cleared(1).await;
    let reports = world.gitlab.reports(1);
    assert!(
        reports
            .iter()
            .all(|report| report.ending == Ending::Canceled),
        "{reports:?}"
    );
    assert!(world.log.executions(1).is_empty());
}
