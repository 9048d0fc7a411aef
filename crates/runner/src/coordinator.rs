//! GitLab as the loops see it: the source of jobs and the receiver of their results.
//!
//! These are traits although GitLab has one implementation, because the sixteen rules are tested
//! under tokio's paused time, against a GitLab that can be stopped between any two calls; real
//! sockets do not stop with the clock. The real implementations ([`GitLab`], [`GitLabJobs`]) only
//! forward these few calls, so little is left untested.

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

    /// Asks for a job. GitLab delays the answer until there is one, by default for at most 50 s.
    fn request_job(&self, last_update: Option<String>) -> BoxFuture<'_, Result<JobPoll, Error>>;
}

/// The receiver of reports about jobs, authenticated by the jobs' own tokens.
pub trait Coordinator: Send + Sync {
    /// Says that somebody works on a job, and returns the job's status in GitLab.
    fn keep_alive<'a>(&'a self, job: &'a JobPayload) -> BoxFuture<'a, Result<RemoteStatus, Error>>;

    /// Reports a job's result. `Ok` means that GitLab has it, or that the job was over before.
    fn report<'a>(
        &'a self,
        job: &'a JobPayload,
        verdict: &'a Verdict,
        trace: Option<TraceMark>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Becomes the writer of a job's trace, at the end that GitLab reports. The mark that the last
    /// writer left may spare computing the checksum.
    ///
    /// GitLab is always asked for the end, because a leader that died may have written without
    /// leaving a mark.
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

    /// Follows the job's status in GitLab.
    fn remote(&self) -> watch::Receiver<Remote>;

    /// While `held`, buffers what is written and sends nothing to GitLab.
    fn hold(&self, held: bool);

    /// Sends everything and stops being the writer. Returns where the trace ends, if that is known.
    fn close(self: Box<Self>) -> BoxFuture<'static, Option<TraceMark>>;
}
