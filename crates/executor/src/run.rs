//! One job's run: what goes in, what is told while it runs, and how it ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use onspot_cache::CacheAccess;
use onspot_gitlab::job::JobPayload;
use onspot_gitlab::{FailureReason, TraceWriter};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::ExecutorError;

/// Everything an executor needs to run one attempt of one job.
///
/// The executor writes the whole trace of the attempt, its last line (`Job succeeded` or
/// `ERROR: Job failed: …`) included; it never talks to GitLab about the job's state.
pub struct JobRun {
    /// The job as GitLab sent it.
    pub payload: Arc<JobPayload>,
    /// Which of this host's slots the job takes, counted from 0. A slot runs one job at a time.
    pub slot: usize,
    /// Which attempt at the job this is, counted from 1.
    pub attempt: u32,
    /// Where the trace goes. Masking happens behind it.
    pub trace: TraceWriter,
    /// Where the job's cache lies.
    pub cache: CacheAccess,
    /// How long the whole attempt may take, from the call of [`Executor::run`] on.
    pub timeout: Duration,
    /// Set to end the job early. Once set it may only be tightened (cancel, then abort).
    pub stop: watch::Receiver<Option<Stop>>,
    /// Told what happens. An executor never fails for a receiver that is gone, except for
    /// [`Event::ReadyToStart`], which then counts as refused.
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

/// Why a job is to end before its script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled the job: the script is killed, `after_script` runs, caches and artifacts
    /// that are meant for a failed job are kept, and the outcome is [`Outcome::Canceled`].
    Cancel,
    /// The attempt is no longer ours: everything is killed now and nobody is told
    /// ([`Outcome::Aborted`]).
    Abort,
    /// The host is about to go: everything is killed now, so that another worker can take the
    /// job over ([`Outcome::Aborted`]). The caller flushes the trace.
    Interrupt,
}

/// What a running job tells its owner.
#[derive(Debug)]
pub enum Event {
    /// A phase before the script began; the text is its section's name (`get_sources`, …).
    Preparing(String),
    /// Sources, cache and container are ready. The executor waits for the answer before it
    /// starts the script; `false` (or a dropped sender) ends the run as [`Outcome::Aborted`].
    ReadyToStart(oneshot::Sender<bool>),
    /// The script runs.
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
    /// A phase ended (its section's name and how long it took), for those who measure.
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
        /// What GitLab is told.
        reason: FailureReason,
        /// The exit code of what failed: of the script, or of git, caches and artifacts.
        exit_code: Option<i32>,
        /// One line for people, already in the trace.
        message: String,
    },
    /// The job was cancelled, `after_script` included.
    Canceled,
    /// The attempt was given up: by [`Stop::Abort`], [`Stop::Interrupt`], or a refused start.
    /// Nothing more was written to the trace.
    Aborted,
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Containers of jobs and their services.
    pub job_containers: usize,
    /// Warm helpers.
    pub helpers: usize,
    /// Networks of jobs.
    pub networks: usize,
}

/// Runs jobs on this host. Two of them exist: [`DockerExecutor`](crate::DockerExecutor) and
/// [`ShellExecutor`](crate::ShellExecutor).
pub trait Executor: Send + Sync + 'static {
    /// Its name as GitLab knows it: `docker` or `shell`.
    fn name(&self) -> &'static str;

    /// Runs one attempt to its end. Whatever the outcome, nothing of the job runs any more when
    /// the future is ready.
    ///
    /// A dropped future leaves containers behind; use [`JobRun::stop`] instead, or
    /// [`Executor::sweep`] afterwards.
    fn run(&self, run: JobRun) -> BoxFuture<'_, Outcome>;

    /// Kills whatever a predecessor on this host left running. To be called before the first
    /// job, and by a watchdog at the end of a lease.
    fn sweep(&self) -> BoxFuture<'_, Result<Swept, ExecutorError>>;

    /// Lets nothing of the slot's job run, until [`Executor::thaw`]: what runs stands still where it
    /// is, and nothing more is begun. The job's time goes on; one that is stopped meanwhile, or whose
    /// time is up, is killed as it is. To freeze what is frozen does no harm.
    ///
    /// An error means that something may run on: the job is to be killed.
    fn freeze(&self, slot: usize) -> BoxFuture<'_, Result<(), ExecutorError>>;

    /// Lets the slot's job go on.
    ///
    /// An error means that something may stand still for good.
    fn thaw(&self, slot: usize) -> BoxFuture<'_, Result<(), ExecutorError>>;

    /// Makes sure that the slot's helper waits for the next job, so that it costs no time then, if
    /// as many jobs are to be expected: one, and as many as ran at once lately.
    fn warm(&self, slot: usize) -> BoxFuture<'_, Result<(), ExecutorError>>;

    /// Removes everything that was made on this host for this runner, once there will be no more
    /// jobs and none runs.
    fn close(&self) -> BoxFuture<'_, ()>;
}
