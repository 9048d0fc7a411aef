//! One run of a job: input, events while it runs, and result.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use onspot_cache::CacheAccess;
use onspot_gitlab::job::JobPayload;
use onspot_gitlab::{FailureReason, TraceWriter};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;

/// The input of an executor for one attempt of one job.
///
/// The executor writes the whole trace of the attempt, including its last line (`Job succeeded` or
/// `ERROR: Job failed: …`); it never reports the job's state to GitLab.
pub struct JobRun {
    /// The job as GitLab sent it.
    pub payload: Arc<JobPayload>,
    /// The slot of this host for the job, counted from 0. A slot runs one job at a time.
    pub slot: usize,
    /// The public beginning of the runner's token (`CI_RUNNER_SHORT_TOKEN`): a worker's executor
    /// itself has none.
    pub short_token: String,
    /// The number of the attempt, counted from 1.
    pub attempt: u32,
    /// Receives the output and masks it.
    pub trace: TraceWriter,
    /// Where the job's cache is stored.
    pub cache: CacheAccess,
    /// Time limit of the whole attempt, from the call of [`Executor::run`] on.
    pub timeout: Duration,
    /// Set to end the job early. Once set it may only be tightened (cancel, then abort).
    pub stop: watch::Receiver<Option<Stop>>,
    /// Receives events. A dropped receiver is no error, except for [`Event::ReadyToStart`], which
    /// then counts as refused.
    pub events: mpsc::Sender<Event>,
}

impl fmt::Debug for JobRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobRun")
            .field("job", &self.payload.id)
            .field("slot", &self.slot)
            .field("attempt", &self.attempt)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why a job has to end before its script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The job was cancelled: the script is killed, `after_script` runs, caches and artifacts for
    /// failed jobs are saved, and the outcome is [`Outcome::Canceled`].
    Cancel,
    /// This worker no longer owns the attempt: everything is killed now and nothing is reported
    /// ([`Outcome::Aborted`]).
    Abort,
    /// The host is about to be shut down: everything is killed now, so that another worker can take
    /// the job over ([`Outcome::Aborted`]). The caller flushes the trace.
    Interrupt,
}

/// An event of a running job.
#[derive(Debug)]
pub enum Event {
    /// A phase before the script has started; the text is its section's name (`get_sources`, …).
    Preparing(String),
    /// Sources, cache and container are ready. The executor waits for the answer before it
    /// starts the script; `false` (or a dropped sender) ends the run as [`Outcome::Aborted`].
    ReadyToStart(oneshot::Sender<bool>),
    /// The script has started.
    Started,
    /// The script (`before_script` and `script`) ended by itself.
    ScriptDone {
        /// Its exit code; 0 means success.
        exit_code: i32,
    },
    /// A cache archive was stored.
    CacheSaved {
        /// The cache key, expanded.
        key: String,
        /// The archive's size in bytes.
        bytes: u64,
    },
    /// An artifact archive was uploaded to GitLab.
    ArtifactUploaded {
        /// The artifact's name.
        name: String,
        /// The archive's size in bytes.
        bytes: u64,
    },
    /// A phase ended (its section's name and duration), for measurements.
    Step {
        /// The section's name.
        name: String,
        /// How long it took.
        duration: Duration,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The script and everything after it succeeded.
    Success,
    /// The job failed.
    Failed {
        /// The failure reason for GitLab.
        reason: FailureReason,
        /// The exit code of the failed part: the script, or git, caches and artifacts.
        exit_code: Option<i32>,
        /// One line for people, already in the trace.
        message: String,
    },
    /// The job was cancelled, and `after_script` has run.
    Canceled,
    /// The attempt was given up because of [`Stop::Abort`], [`Stop::Interrupt`], or a refused
    /// start. Nothing more was written to the trace.
    Aborted,
}

/// What a sweep has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Containers of jobs and their services.
    pub job_containers: usize,
    /// Waiting helpers.
    pub helpers: usize,
    /// Networks of jobs.
    pub networks: usize,
}

/// Runs jobs on this host. There are two: [`DockerExecutor`](crate::DockerExecutor) and
/// [`ShellExecutor`](crate::ShellExecutor).
pub trait Executor: Send + Sync + 'static {
    /// Its name as GitLab knows it: `docker` or `shell`.
    fn name(&self) -> &'static str;

    /// Runs one attempt to its end. Whatever the outcome, nothing of the job is still running when
    /// the future is ready.
    ///
    /// A dropped future leaves containers behind; use [`JobRun::stop`] instead, or
    /// [`Executor::sweep`] afterwards.
    fn run(&self, run: JobRun) -> BoxFuture<'_, Outcome>;

    /// Kills everything that a previous process on this host left running. Call it before the first
    /// job, and from a watchdog at the end of a lease.
    fn sweep(&self) -> BoxFuture<'_, Result<Swept, Error>>;

    /// Stops everything of the slot's job until [`Executor::thaw`]: running parts are paused, and
    /// nothing more is started. The job's time limit continues; a job that is stopped meanwhile, or
    /// times out, is killed without running again. Freezing a frozen slot has no effect.
    ///
    /// An error means that something may still be running: kill the job.
    fn freeze(&self, slot: usize) -> BoxFuture<'_, Result<(), Error>>;

    /// Resumes the slot's job.
    ///
    /// An error means that something may stay frozen forever.
    fn thaw(&self, slot: usize) -> BoxFuture<'_, Result<(), Error>>;

    /// Makes sure that the slot's helper waits for the next job, to save the time of starting it,
    /// if that many jobs are expected: at least one, and as many as ran concurrently in recent
    /// time.
    fn warm(&self, slot: usize) -> BoxFuture<'_, Result<(), Error>>;

    /// Removes everything created on this host for this runner, once there will be no more jobs and
    /// none is running.
    fn close(&self) -> BoxFuture<'_, ()>;
}
