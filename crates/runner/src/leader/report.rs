//! Reports to GitLab the verdict in a record (rule 13).

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use onspot_gitlab::{JobPayload, ansi};
use onspot_ledger::{Ending, JobKey, Record, TraceMark, Verdict};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::payload::Payloads;
use crate::clock::Clock;
use crate::coordinator::Coordinator;

/// The pause between two series of tries.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// GitLab itself ends a job at its time limit, a minute after the record's deadline. An hour later,
/// nobody needs to report the job any more.
const LAST_TRY: Duration = Duration::from_hours(1);

/// The verdicts that are being reported, each in the background, and those that have been.
pub(crate) struct ResultReporter {
    payloads: Payloads,
    clock: Clock,
    wake: Arc<Notify>,
    told: Arc<Mutex<HashSet<JobKey>>>,
    tasks: HashMap<JobKey, JoinHandle<()>>,
}

impl Drop for ResultReporter {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

impl ResultReporter {
    pub(crate) fn new(payloads: Payloads, clock: Clock, wake: Arc<Notify>) -> Self {
        Self {
            payloads,
            clock,
            wake,
            told: Arc::default(),
            tasks: HashMap::new(),
        }
    }

    /// Whether this manager has reported the job's verdict, or nobody can report it.
    pub(crate) fn has_reported(&self, job: &JobKey) -> bool {
        self.told.lock().contains(job)
    }

    /// Reports to GitLab, unless a report is already running.
    pub(crate) fn report(
        &mut self,
        job: &JobKey,
        coordinator: &Arc<dyn Coordinator>,
        verdict: &Verdict,
        record: &Record,
    ) {
        // A finished task has reported or died.
        if self.tasks.get(job).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let report = ResultReport {
            payloads: self.payloads.clone(),
            coordinator: Arc::clone(coordinator),
            clock: self.clock.clone(),
            job: job.clone(),
            verdict: verdict.clone(),
            record: record.clone(),
        };
        let (told, wake) = (Arc::clone(&self.told), Arc::clone(&self.wake));
        let job = job.clone();
        let key = job.clone();
        let task = tokio::spawn(async move {
            report.send().await;
            told.lock().insert(key);
            wake.notify_one();
        });
        self.tasks.insert(job, task);
    }

    /// Forgets the jobs whose records are gone.
    pub(crate) fn retain(&mut self, exists: impl Fn(&JobKey) -> bool) {
        self.tasks.retain(|job, _| exists(job));
        self.told.lock().retain(|job| exists(job));
    }
}

/// Tells one verdict.
struct ResultReport {
    payloads: Payloads,
    coordinator: Arc<dyn Coordinator>,
    clock: Clock,
    job: JobKey,
    verdict: Verdict,
    record: Record,
}

impl ResultReport {
    /// Ends when GitLab knows the verdict, when it has ended the job itself, or when nobody can
    /// report the job any more. One of these happens eventually.
    async fn send(self) {
        let (id, runner) = (self.job.id, &self.job.runner);
        let Some(payload) = self.payload().await else {
            tracing::error!(job = id, %runner,
                "GitLab can't be told how it ended, as its token is lost: it ends it by its own \
                 time limit");
            return;
        };
        // If the worker has a result of its own, it has already written that into the trace.
        if self.verdict.exit_code.is_none() {
            let mark = self.record.trace;
            write_end(&*self.coordinator, &payload, &self.verdict, mark).await;
        }
        while let Err(error) = self.coordinator.report(&payload, &self.verdict, None).await {
            if self.clock.now() > self.record.deadline + LAST_TRY {
                tracing::error!(job = id, %runner, %error,
                    "GitLab was not told how it ended, and has ended it by its own time limit");
                return;
            }
            tracing::warn!(job = id, %error, "the verdict could not be told yet");
            tokio::time::sleep(TRY_AGAIN).await;
        }
        tracing::info!(job = id, %runner, ending = ?self.verdict.ending, "told");
    }

    async fn payload(&self) -> Option<JobPayload> {
        loop {
            match self.payloads.to_tell(&self.job, &self.record).await {
                Ok(payload) => return payload,
                Err(error) => {
                    tracing::warn!(job = self.job.id, %error, "the payload can't be read yet");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }
}

/// Writes into the trace how the job ended and why. The verdict is reported even if that fails.
pub(super) async fn write_end(
    coordinator: &dyn Coordinator,
    payload: &JobPayload,
    verdict: &Verdict,
    mark: Option<TraceMark>,
) {
    let why = verdict.message.as_deref().unwrap_or_default();
    let line = match verdict.ending {
        Ending::Failed => ansi::error(&format!("Job failed (system failure): {why}")),
        Ending::Canceled => ansi::warning("Job was canceled before it ran"),
        Ending::Success => return,
    };
    match coordinator.open_trace(payload, mark).await {
        Ok(trace) => {
            trace.writer().line(&line);
            trace.close().await;
        }
        Err(error) => {
            tracing::info!(job = %payload.id, %error, "the trace takes no last line");
        }
    }
}
