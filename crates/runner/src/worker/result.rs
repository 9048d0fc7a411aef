//! From a result to GitLab (rule 7).

use onspot_executor::Stop;
use onspot_gitlab::{AssignedJob, JobId, JobPayload, JobToken};
use onspot_ledger::{AttemptPhase, Key, Order, TraceMark, Verdict, read};
use tokio::sync::watch;

use super::WorkerContext;
use super::keeper::Keeper;

/// Reads the current order, however long that takes; `None` if stopped before.
pub(crate) async fn order_now(
    context: &WorkerContext,
    stop: &mut watch::Receiver<Option<Stop>>,
) -> Option<Order> {
    let key = Key::order(&context.id);
    loop {
        let answer = tokio::select! {
            answer = read(&*context.ledger, &key) => answer,
            () = aborted(stop) => return None,
        };
        match answer {
            Ok(found) => return found.map(|stored| stored.value),
            Err(error) => tracing::warn!(%error, "the order could not be read again yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(context.timing.order_poll) => {}
            () = aborted(stop) => return None,
        }
    }
}

/// Returns when the attempt is to be killed; a cancel does not count.
pub(crate) async fn aborted(stop: &mut watch::Receiver<Option<Stop>>) {
    let killed = |stop: &Option<Stop>| matches!(stop, Some(Stop::Abort | Stop::Interrupt));
    if stop.wait_for(killed).await.is_err() {
        // The agent is gone, and ends this task with it.
        std::future::pending::<()>().await;
    }
}

/// Reports a stored result to GitLab if the order still says *run(attempt)*. Otherwise the result
/// is void, and the leader handles the job.
pub(crate) async fn tell(
    context: &WorkerContext,
    keeper: &Keeper,
    (job, attempt): (u64, u32),
    payload: &JobPayload,
    verdict: &Verdict,
    trace: Option<TraceMark>,
    stop: &mut watch::Receiver<Option<Stop>>,
) {
    loop {
        let order = order_now(context, stop).await;
        if !order.is_some_and(|order| order.runs(job, attempt)) {
            tracing::warn!(job, attempt, "superseded: the result is not told");
            return;
        }
        let answer = tokio::select! {
            answer = context.coordinator.report(payload, verdict, trace) => answer,
            () = aborted(stop) => return,
        };
        match answer {
            Ok(()) => break,
            Err(error) => tracing::warn!(job, %error, "the result could not be told yet"),
        }
        tokio::time::sleep(context.timing.heartbeat).await;
    }
    tracing::info!(job, attempt, worker = context.id.instance(), ending = ?verdict.ending, "told");
    let reported = AttemptPhase::Reported {
        verdict: verdict.clone(),
    };
    keeper
        .store(move |state| state.advance(job, attempt, reported))
        .await;
}

/// Resumes a stored result that was not reported by an earlier agent or before the lease ended.
pub(crate) async fn resume(
    context: &WorkerContext,
    keeper: &Keeper,
    job: u64,
    attempt: u32,
    verdict: &Verdict,
    mut stop: watch::Receiver<Option<Stop>>,
) {
    let key = Key::work(&context.id, job, attempt);
    let work = loop {
        match read(&*context.ledger, &key).await {
            Ok(Some(work)) => break work.value,
            // The payload is removed after the order was released; then there is nothing to report.
            Ok(None) => return,
            Err(error) => tracing::warn!(job, %error, "the payload can't be read yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(context.timing.order_poll) => {}
            () = aborted(&mut stop) => return,
        }
    };
    let bare = bare_payload(job, &work.raw);
    let payload = AssignedJob::parse(work.raw).map_or(bare, |assigned| assigned.job);
    let of = (job, attempt);
    tell(context, keeper, of, &payload, verdict, None, &mut stop).await;
}

/// The part of an unreadable payload that is needed to report a result to GitLab.
pub(crate) fn bare_payload(job: u64, raw: &serde_json::Value) -> JobPayload {
    let token = raw.get("token").and_then(|token| token.as_str());
    JobPayload {
        id: JobId(job),
        token: JobToken::new(token.unwrap_or_default()),
        ..JobPayload::default()
    }
}
