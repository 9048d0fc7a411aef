//! The traces of waiting jobs. Until a job is assigned, only the leader writes its trace.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use onspot_gitlab::{AssignedJob, JobPayload, Remote, RemoteStatus, ansi};
use onspot_ledger::{JobKey, TraceMark};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::payload::Payloads;
use crate::coordinator::{Coordinator, Trace};

/// How long a hand-over may take. After that, the worker has to find out by itself where the trace
/// ends.
const HANDOVER_LIMIT: Duration = Duration::from_secs(5);

/// Between two tries to reach GitLab about a waiting job.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// The state of a waiting job in GitLab.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum News {
    /// It still waits.
    #[default]
    Waiting,
    /// Somebody cancelled it, or it is over for another reason.
    Over,
}

/// One trace for each waiting job.
pub(crate) struct WaitingTraces {
    payloads: Payloads,
    probe: Duration,
    wake: Arc<Notify>,
    traces: HashMap<JobKey, WaitingTrace>,
}

/// A background task that keeps GitLab informed about one waiting job.
struct WaitingTrace {
    reason: watch::Sender<String>,
    news: watch::Receiver<News>,
    hand_over: Option<oneshot::Sender<()>>,
    /// Set once it was told to hand over: the time limit for that.
    leaves: Option<Instant>,
    task: JoinHandle<Option<TraceMark>>,
}

impl Drop for WaitingTrace {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WaitingTraces {
    pub(crate) fn new(payloads: Payloads, probe: Duration, wake: Arc<Notify>) -> Self {
        Self {
            payloads,
            probe,
            wake,
            traces: HashMap::new(),
        }
    }

    /// Writes into the job's trace why it waits, if the reason is new. `mark` is the last known end
    /// of the trace, `loss` how the previous attempt was lost.
    pub(crate) fn explain(
        &mut self,
        job: &JobKey,
        coordinator: &Arc<dyn Coordinator>,
        mark: Option<TraceMark>,
        loss: Option<String>,
        reason: &str,
    ) {
        // The trace was told to hand over, but then the job was not assigned after all.
        if self
            .traces
            .get(job)
            .is_some_and(|trace| trace.leaves.is_some())
        {
            self.traces.remove(job);
        }
        if let Some(trace) = self.traces.get(job) {
            trace.reason.send_if_modified(|known| {
                let changed = known != reason;
                if changed {
                    tracing::info!(job = job.id, runner = %job.runner, reason, "waiting");
                    reason.clone_into(known);
                }
                changed
            });
            return;
        }
        tracing::info!(job = job.id, runner = %job.runner, reason, "waiting");
        let (reason, reasons) = watch::channel(reason.to_owned());
        let (tell, news) = watch::channel(News::Waiting);
        let (hand_over, handed_over) = oneshot::channel();
        let task = TraceTask {
            payloads: self.payloads.clone(),
            coordinator: Arc::clone(coordinator),
            key: job.clone(),
            probe: self.probe,
            wake: Arc::clone(&self.wake),
            reasons,
            tell,
        };
        let task = tokio::spawn(async move { task.work(mark, loss, handed_over).await });
        self.traces.insert(
            job.clone(),
            WaitingTrace {
                reason,
                news,
                hand_over: Some(hand_over),
                leaves: None,
                task,
            },
        );
    }

    /// The job's state in GitLab.
    pub(crate) fn news(&self, job: &JobKey) -> News {
        self.traces
            .get(job)
            .map(|trace| *trace.news.borrow())
            .unwrap_or_default()
    }

    /// Tells the traces of these jobs to hand over, all at the same time, so that together they
    /// take only as long as the slowest one.
    pub(crate) fn dismiss<'a>(&mut self, jobs: impl IntoIterator<Item = &'a JobKey>) {
        let leaves = Instant::now() + HANDOVER_LIMIT;
        for job in jobs {
            let Some(trace) = self.traces.get_mut(job) else {
                continue;
            };
            if let Some(hand_over) = trace.hand_over.take() {
                // A trace that has already finished need not be told.
                let _ = hand_over.send(());
                trace.leaves = Some(leaves);
            }
        }
    }

    /// Stops writing a job's trace. Returns where it ends; `None` if that is unknown or this
    /// manager never wrote the trace.
    pub(crate) async fn hand_over(&mut self, job: &JobKey) -> Option<TraceMark> {
        self.dismiss([job]);
        let mut trace = self.traces.remove(job)?;
        let leaves = trace.leaves.unwrap_or_else(Instant::now);
        match tokio::time::timeout_at(leaves, &mut trace.task).await {
            Ok(Ok(mark)) => mark,
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Forgets all jobs but those that still wait.
    pub(crate) fn retain(&mut self, waits: impl Fn(&JobKey) -> bool) {
        self.traces.retain(|job, _| waits(job));
    }
}

/// Why a trace stopped writing.
enum Written {
    /// The job was assigned, or is over.
    HandedOver,
    /// Somebody else wrote the trace.
    Superseded,
}

/// What a trace works with.
struct TraceTask {
    payloads: Payloads,
    coordinator: Arc<dyn Coordinator>,
    key: JobKey,
    probe: Duration,
    wake: Arc<Notify>,
    reasons: watch::Receiver<String>,
    tell: watch::Sender<News>,
}

impl TraceTask {
    /// Writes the trace until it is handed over; returns where it ends.
    async fn work(
        mut self,
        mut mark: Option<TraceMark>,
        mut loss: Option<String>,
        mut handed_over: oneshot::Receiver<()>,
    ) -> Option<TraceMark> {
        let payload = tokio::select! {
            payload = self.payload() => payload,
            _ = &mut handed_over => return None,
        };
        loop {
            let trace = tokio::select! {
                trace = self.open(&payload, mark) => trace?,
                _ = &mut handed_over => return None,
            };
            if let Some(loss) = loss.take() {
                trace.writer().line(&ansi::warning(&loss));
            }
            match self.write(&*trace, &payload, &mut handed_over).await {
                Written::HandedOver => return trace.close().await,
                // Most likely an earlier leader that did not know yet that it was deposed.
                Written::Superseded => {
                    mark = None;
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    /// Writes each new reason, until somebody else takes over.
    async fn write(
        &mut self,
        trace: &dyn Trace,
        payload: &JobPayload,
        handed_over: &mut oneshot::Receiver<()>,
    ) -> Written {
        let (mut remote, writer) = (trace.remote(), trace.writer());
        let mut probe = tokio::time::interval(self.probe);
        let reason = self.reasons.borrow_and_update().clone();
        writer.line(&ansi::info(&reason));
        loop {
            tokio::select! {
                _ = &mut *handed_over => return Written::HandedOver,
                changed = self.reasons.changed() => {
                    if changed.is_err() { return Written::HandedOver }
                    let reason = self.reasons.borrow_and_update().clone();
                    writer.line(&ansi::info(&reason));
                }
                changed = remote.changed() => {
                    let now = *remote.borrow_and_update();
                    if changed.is_err() || now == Remote::Superseded {
                        return Written::Superseded;
                    }
                    if now != Remote::Running { self.over() }
                }
                _ = probe.tick() => self.look(payload).await,
            }
        }
    }

    /// The job as GitLab sent it, whose token opens the trace. If it is lost, nothing can be
    /// written, and the rounds end the job.
    async fn payload(&self) -> JobPayload {
        loop {
            match self.payloads.raw(&self.key).await {
                Ok(raw) => {
                    if let Some(Ok(assigned)) = raw.map(AssignedJob::parse) {
                        return assigned.job;
                    }
                    tracing::error!(job = self.key.id, "no trace without its payload");
                    return std::future::pending().await;
                }
                Err(error) => tracing::warn!(job = self.key.id, %error, "no payload yet"),
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    /// Becomes the trace's writer. `None` if GitLab no longer accepts the trace.
    async fn open(&self, payload: &JobPayload, mark: Option<TraceMark>) -> Option<Box<dyn Trace>> {
        loop {
            match self.coordinator.open_trace(payload, mark).await {
                Ok(trace) => return Some(trace),
                Err(onspot_gitlab::Error::TraceOver { .. }) => {
                    self.over();
                    return None;
                }
                Err(error) => {
                    tracing::warn!(job = self.key.id, %error, "the trace can't be written yet");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    /// Asks GitLab for the job's status. This reveals a cancel, and shows GitLab that the job is
    /// not forgotten.
    async fn look(&self, payload: &JobPayload) {
        match self.coordinator.keep_alive(payload).await {
            Ok(RemoteStatus::Running) => {}
            Ok(RemoteStatus::Canceling | RemoteStatus::Canceled | RemoteStatus::Failed) => {
                self.over();
            }
            Err(error) => tracing::warn!(job = self.key.id, %error, "GitLab does not answer"),
        }
    }

    fn over(&self) {
        self.tell.send_replace(News::Over);
        self.wake.notify_one();
    }
}
