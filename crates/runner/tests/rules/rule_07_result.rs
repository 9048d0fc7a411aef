//! A worker stores its *result*, waits for the answer, reads its order again, and tells GitLab
//! only if *run* stands; otherwise the result is void.

use onspot_ledger::Verdict;
use onspot_runner::coordinator::Coordinator as _;

use crate::world::{Op, World, seconds};

/// The accident: a worker reports a result after the take-over without reading its order again.
#[tokio::test(start_paused = true)]
async fn without_it_a_superseded_worker_reports() {
    let world = World::new();
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    w1.line.hold(Op::Put, "state");
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    // The write of the result is answered at last, and w1 tells GitLab without reading its order.
    let raw = world.gitlab.take(1);
    let payload = onspot_gitlab::AssignedJob::parse(raw).unwrap().job;
    w1.connection
        .report(&payload, &Verdict::success(), None)
        .await
        .unwrap();
    world
        .until("both have told", async || {
            world.gitlab.reports(1).len() == 2
        })
        .await;
    assert_eq!(world.gitlab.reports(1)[0].by, "w1");
}

#[tokio::test(start_paused = true)]
async fn with_it_a_late_result_is_void() {
    let world = World::new();
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let late = w1.line.hold(Op::Put, "state");
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    late.open();
    world.until_cleared(1).await;
    seconds(300).await;
    let reports = world.gitlab.reports(1);
    assert_eq!(
        reports
            .iter()
            .map(|report| report.by.as_str())
            .collect::<Vec<_>>(),
        ["w2"]
    );
    assert!(
        !world.log.overlaps(1),
        "the lease ended before the take-over"
    );
}

/// The lease ended while the result was being reported, and was renewed before the take-over.
#[tokio::test(start_paused = true)]
async fn with_it_a_result_is_told_once_the_lease_is_renewed() {
    let world = World::new();
    let (_host, agent) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    agent.connection.set_down(true);
    world.until_result(1, "w1").await;
    let cut = agent.line.cut(Op::Put, "state");
    seconds(130).await;
    cut.open();
    agent.connection.set_down(false);
    world.until_cleared(1).await;
    let reports = world.gitlab.reports(1);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].by, "w1");
}
