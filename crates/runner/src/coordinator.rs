//! GitLab as the loops see it: a source of jobs, and somebody to be told about them.
//!
//! These are traits although GitLab has one implementation, because the sixteen rules are tested
//! under tokio's paused time, against a GitLab that can be stopped between any two calls; real
//! sockets do not stand still with the clock. The calls are few and the real ones only pass them
//! on ([`GitLab`], [`GitLabJobs`]), so that nothing worth testing hides behind them.

use futures::future::BoxFuture;
use onspot_gitlab::{Error, JobPayload, JobPoll, Remote, RemoteStatus, TraceWriter};
use onspot_ledger::{TraceMark, Verdict};
use tokio::sync::watch;

mod gitlab;

pub use gitlab::{GitLab, GitLabJobs};

/// Where one `[[runners]]` gets its jobs from.
pub trait JobSource: Send + Sync {
    /// Says hello: whether GitLab accepts the runner's token.
    fn verify(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Asks for a job; GitLab holds the answer back until there is one, 50 s by default.
    fn request_job(&self, last_update: Option<String>) -> BoxFuture<'_, Result<JobPoll, Error>>;
}

/// Who is told about jobs, by the jobs' own tokens.
pub trait Coordinator: Send + Sync {
    /// Says that a job is being worked on, and learns what has become of it.
    fn keep_alive<'a>(&'a self, job: &'a JobPayload) -> BoxFuture<'a, Result<RemoteStatus, Error>>;

    /// Tells a job's end. `Ok` means that GitLab has it, or that the job was over before.
    fn report<'a>(
        &'a self,
        job: &'a JobPayload,
        verdict: &'a Verdict,
        trace: Option<TraceMark>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Becomes the writer of a job's trace, from where GitLab says that it ends; the mark that
    /// the last writer left may save its checksum.
    ///
    /// GitLab is always asked: a leader that died may have written without leaving a mark.
    fn open_trace<'a>(
        &'a self,
        job: &'a JobPayload,
        last_known: Option<TraceMark>,
    ) -> BoxFuture<'a, Result<Box<dyn Trace>, Error>>;
}

/// A trace that is being written.
pub trait Trace: Send + Sync {
    /// What to write to.
    fn writer(&self) -> TraceWriter;

    /// What becomes of the job in GitLab.
    fn remote(&self) -> watch::Receiver<Remote>;

    /// Keeps what is written, and says nothing to GitLab, until it is told otherwise.
    fn hold(&self, held: bool);

    /// Sends everything and stops being the writer. Where the trace ends then, if it is known.
    fn close(self: Box<Self>) -> BoxFuture<'static, Option<TraceMark>>;
}
