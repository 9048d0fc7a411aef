//! Telling GitLab a verdict that stands in a record (rule 13).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use onspot_gitlab::{AssignedJob, JobPayload, ansi};
use onspot_ledger::{Ending, JobKey, Key, Ledger, TraceMark, Verdict, read};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::coordinator::Coordinator;

/// Between two rounds of tries.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// The verdicts that are being told, each in the background, and those that were.
pub(crate) struct Tellers {
    ledger: Arc<dyn Ledger>,
    wake: Arc<Notify>,
    told: Arc<Mutex<HashSet<JobKey>>>,
    tasks: HashMap<JobKey, JoinHandle<()>>,
}

impl Drop for Tellers {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

impl Tellers {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, wake: Arc<Notify>) -> Self {
        Self {
            ledger,
            wake,
            told: Arc::default(),
            tasks: HashMap::new(),
        }
    }

    /// Whether GitLab knows the job's verdict from this manager.
    pub(crate) fn has_told(&self, job: &JobKey) -> bool {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(job)
    }

    /// Tells GitLab, unless that is on its way. `explain` says that nobody has written the
    /// verdict into the trace.
    pub(crate) fn tell(
        &mut self,
        job: &JobKey,
        coordinator: &Arc<dyn Coordinator>,
        verdict: &Verdict,
        mark: Option<TraceMark>,
        explain: bool,
    ) {
        if self.tasks.contains_key(job) {
            return;
        }
        let (ledger, coordinator) = (Arc::clone(&self.ledger), Arc::clone(coordinator));
        let (key, verdict) = (job.clone(), verdict.clone());
        let (told, wake) = (Arc::clone(&self.told), Arc::clone(&self.wake));
        let task = tokio::spawn(async move {
            let Some(payload) = payload(&*ledger, &key).await else {
                return;
            };
            if explain {
                write_end(&*coordinator, &payload, &verdict, mark).await;
            }
            while let Err(error) = coordinator.report(&payload, &verdict, None).await {
                tracing::warn!(job = key.id, %error, "the verdict could not be told yet");
                tokio::time::sleep(TRY_AGAIN).await;
            }
            tracing::info!(job = key.id, runner = %key.runner, ending = ?verdict.ending, "told");
            told.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key);
            wake.notify_one();
        });
        self.tasks.insert(job.clone(), task);
    }

    /// Forgets the jobs whose records are gone.
    pub(crate) fn retain(&mut self, exists: impl Fn(&JobKey) -> bool) {
        self.tasks.retain(|job, _| exists(job));
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|job| exists(job));
    }
}

async fn payload(ledger: &dyn Ledger, key: &JobKey) -> Option<JobPayload> {
    loop {
        match read(ledger, &Key::job_payload(key)).await {
            Ok(Some(stored)) => match AssignedJob::parse(stored.value.raw) {
                Ok(assigned) => return Some(assigned.job),
                Err(error) => {
                    tracing::error!(job = key.id, %error, "the payload can't be read");
                    return None;
                }
            },
            // The record goes last, so this job is over already.
            Ok(None) => return None,
            Err(error) => {
                tracing::warn!(job = key.id, %error, "the payload can't be read yet");
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }
}

/// Says in the trace how the job ended and why. The verdict is told even if that fails.
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
