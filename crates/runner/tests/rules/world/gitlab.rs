//! A GitLab that records who reports what.

use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use onspot_gitlab::{
    AssignedJob, Error, JobPayload, JobPoll, JobRequestOutcome, Remote, RemoteStatus, TraceWriter,
};
use onspot_ledger::{Ending, TraceMark, Verdict};
use onspot_runner::Clock;
use onspot_runner::coordinator::{Coordinator, JobSource, Trace};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

/// How long a request for a job is held open.
const LONG_POLL: Duration = Duration::from_secs(50);

/// A report of a job's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// Who reported.
    pub(crate) by: String,
    pub(crate) ending: Ending,
    pub(crate) reason: Option<String>,
    /// When, on the steady clock.
    pub(crate) at: Duration,
}

#[derive(Default)]
pub(crate) struct FakeGitLab {
    inner: Mutex<Inner>,
    pushed: Notify,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<u64>,
    /// How long it takes to close a trace.
    closing: Duration,
    /// The time limit of jobs that are pushed from now on, if set.
    timeout: Option<Duration>,
    jobs: BTreeMap<u64, Job>,
}

struct Job {
    raw: Value,
    status: RemoteStatus,
    over: bool,
    reports: Vec<Report>,
    /// Whether the receiver of the job is dead.
    receiver: Option<Arc<AtomicBool>>,
    traces: Vec<Written>,
}

/// A trace that somebody writes.
struct Written {
    writer: TraceWriter,
    remote: Arc<watch::Sender<Remote>>,
    /// Whether it is held.
    held: Arc<AtomicBool>,
}

impl FakeGitLab {
    /// A line to this GitLab for `actor`.
    pub(crate) fn connect(self: &Arc<Self>, actor: &str, clock: &Clock) -> Arc<Connection> {
        Arc::new(Connection {
            clock: clock.clone(),
            gitlab: Arc::clone(self),
            actor: actor.to_owned(),
            dead: Arc::default(),
            down: AtomicBool::new(false),
            lie: Mutex::new(None),
            refused: AtomicBool::new(false),
            asked: AtomicU32::new(0),
        })
    }

    /// Sets how long it takes to close traces that are opened from now on.
    pub(crate) fn set_closing(&self, takes: Duration) {
        self.inner.lock().closing = takes;
    }

    /// Sets the time limit of jobs that are pushed from now on.
    pub(crate) fn set_timeout(&self, timeout: Duration) {
        self.inner.lock().timeout = Some(timeout);
    }

    /// Somebody pushes: a job waits to be asked for.
    pub(crate) fn push(&self, id: u64) {
        self.push_with(id, &[]);
    }

    /// The same with variables.
    pub(crate) fn push_with(&self, id: u64, variables: &[(&str, &str)]) {
        let mut inner = self.inner.lock();
        let mut job = Job::new(id, variables);
        if let Some(timeout) = inner.timeout {
            job.raw["runner_info"]["timeout"] = timeout.as_secs().into();
        }
        inner.jobs.insert(id, job);
        inner.queue.push_back(id);
        drop(inner);
        self.pushed.notify_waiters();
    }

    /// Hands a job out by hand.
    pub(crate) fn take(&self, id: u64) -> Value {
        let mut inner = self.inner.lock();
        inner.queue.retain(|queued| *queued != id);
        inner
            .jobs
            .entry(id)
            .or_insert_with(|| Job::new(id, &[]))
            .raw
            .clone()
    }

    /// A user cancels a job.
    pub(crate) fn cancel(&self, id: u64) {
        let mut inner = self.inner.lock();
        let Some(job) = inner.jobs.get_mut(&id) else {
            return;
        };
        job.status = RemoteStatus::Canceling;
        for written in &job.traces {
            // A writer that does not write, or no longer does, gets no answers either.
            let is_held = written.held.load(Ordering::Relaxed);
            if !is_held && *written.remote.borrow() != Remote::Superseded {
                written.remote.send_replace(Remote::Canceling);
            }
        }
    }

    /// Somebody else writes a job's trace.
    pub(crate) fn supersede(&self, id: u64) {
        for written in &self.inner.lock().jobs[&id].traces {
            written.remote.send_replace(Remote::Superseded);
        }
    }

    /// Whether GitLab knows the job's end.
    pub(crate) fn is_over(&self, id: u64) -> bool {
        self.inner.lock().jobs.get(&id).is_some_and(|job| job.over)
    }

    /// Everything that was reported of a job, refused or not.
    pub(crate) fn reports(&self, id: u64) -> Vec<Report> {
        self.inner.lock().jobs[&id].reports.clone()
    }

    /// Whether anybody has the job or had it.
    pub(crate) fn is_taken(&self, id: u64) -> bool {
        !self.inner.lock().queue.contains(&id)
    }

    /// Everything that was written to a job's trace.
    pub(crate) fn trace(&self, id: u64) -> String {
        let inner = self.inner.lock();
        let parts = inner.jobs[&id]
            .traces
            .iter()
            .map(|written| written.writer.contents());
        parts
            .map(|part| String::from_utf8_lossy(&part).into_owned())
            .collect()
    }

    /// Whether the last writer of a job's trace is held.
    pub(crate) fn is_held(&self, id: u64) -> bool {
        let inner = self.inner.lock();
        let last = inner.jobs[&id].traces.last();
        last.is_some_and(|written| written.held.load(Ordering::Relaxed))
    }

    /// Whether a job was given to somebody who has died since.
    pub(crate) fn receiver_died(&self, id: u64) -> bool {
        let inner = self.inner.lock();
        let receiver = inner.jobs.get(&id).and_then(|job| job.receiver.as_ref());
        receiver.is_some_and(|dead| dead.load(Ordering::Relaxed))
    }

    fn next(&self, receiver: &Arc<AtomicBool>) -> Option<Value> {
        let mut inner = self.inner.lock();
        let id = inner.queue.pop_front()?;
        let job = inner.jobs.get_mut(&id)?;
        job.receiver = Some(Arc::clone(receiver));
        Some(job.raw.clone())
    }
}

impl Job {
    fn new(id: u64, variables: &[(&str, &str)]) -> Self {
        let variables: Vec<Value> = variables
            .iter()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        let raw = json!({
            "id": id,
            "token": format!("token-{id}"),
            "job_info": {"name": "build", "stage": "build", "project_name": "p"},
            "runner_info": {"timeout": 3600},
            "variables": variables,
        });
        let (reports, traces) = (Vec::new(), Vec::new());
        Self {
            raw,
            status: RemoteStatus::Running,
            over: false,
            reports,
            receiver: None,
            traces,
        }
    }
}

/// An actor's line to GitLab.
pub(crate) struct Connection {
    clock: Clock,
    gitlab: Arc<FakeGitLab>,
    actor: String,
    dead: Arc<AtomicBool>,
    down: AtomicBool,
    lie: Mutex<Option<RemoteStatus>>,
    refused: AtomicBool,
    asked: AtomicU32,
}

impl Connection {
    /// GitLab refuses this actor's token, or takes it again.
    pub(crate) fn set_refused(&self, refused: bool) {
        self.refused.store(refused, Ordering::Relaxed);
    }

    /// How often this actor has asked for a job.
    pub(crate) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Nothing passes any more, ever.
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    /// GitLab does not answer this actor, or answers again.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// This actor alone is told that jobs have this status.
    pub(crate) fn see(&self, status: RemoteStatus) {
        *self.lie.lock() = Some(status);
    }

    async fn pass(&self, job: onspot_gitlab::JobId) -> Result<(), Error> {
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.down.load(Ordering::Relaxed) {
            return Err(Error::Unconfirmed { job });
        }
        Ok(())
    }
}

impl JobSource for Connection {
    fn verify(&self) -> BoxFuture<'_, Result<(), Error>> {
        async { self.pass(0.into()).await }.boxed()
    }

    fn request_job(&self, _: Option<String>) -> BoxFuture<'_, Result<JobPoll, Error>> {
        async {
            self.pass(0.into()).await?;
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.refused.load(Ordering::Relaxed) {
                return Ok(JobPoll {
                    outcome: JobRequestOutcome::Forbidden,
                    last_update: None,
                });
            }
            let end = tokio::time::Instant::now() + LONG_POLL;
            let outcome = loop {
                let pushed = self.gitlab.pushed.notified();
                // A dead manager's request was cut off: GitLab hands nothing out on it.
                self.pass(0.into()).await?;
                if let Some(raw) = self.gitlab.next(&self.dead) {
                    break JobRequestOutcome::Job(Box::new(AssignedJob::parse(raw)?));
                }
                if tokio::time::timeout_at(end, pushed).await.is_err() {
                    break JobRequestOutcome::NoJob;
                }
            };
            Ok(JobPoll {
                outcome,
                last_update: None,
            })
        }
        .boxed()
    }
}

impl Coordinator for Connection {
    fn keep_alive<'a>(&'a self, job: &'a JobPayload) -> BoxFuture<'a, Result<RemoteStatus, Error>> {
        async {
            self.pass(job.id).await?;
            if let Some(lie) = *self.lie.lock() {
                return Ok(lie);
            }
            let inner = self.gitlab.inner.lock();
            let job = &inner.jobs[&job.id.0];
            Ok(if job.over {
                RemoteStatus::Canceled
            } else {
                job.status
            })
        }
        .boxed()
    }

    fn report<'a>(
        &'a self,
        job: &'a JobPayload,
        verdict: &'a Verdict,
        _: Option<TraceMark>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async {
            self.pass(job.id).await?;
            let mut inner = self.gitlab.inner.lock();
            let job = inner.jobs.get_mut(&job.id.0).unwrap();
            job.over = true;
            job.reports.push(Report {
                by: self.actor.clone(),
                ending: verdict.ending,
                reason: verdict.failure_reason.clone(),
                at: self.clock.steady(),
            });
            Ok(())
        }
        .boxed()
    }

    fn open_trace<'a>(
        &'a self,
        job: &'a JobPayload,
        _: Option<TraceMark>,
    ) -> BoxFuture<'a, Result<Box<dyn Trace>, Error>> {
        async {
            self.pass(job.id).await?;
            let mut inner = self.gitlab.inner.lock();
            let closing = inner.closing;
            let known = inner.jobs.get_mut(&job.id.0).unwrap();
            if known.over {
                return Err(Error::TraceOver {
                    job: job.id,
                    remote: Remote::Gone,
                });
            }
            let now = match known.status {
                RemoteStatus::Running => Remote::Running,
                _ => Remote::Canceling,
            };
            let (writer, remote) = (
                TraceWriter::detached(&[])?,
                Arc::new(watch::Sender::new(now)),
            );
            // As with the real one, a cancel is learnt from an answer after the opening.
            if now != Remote::Running {
                remote.send_replace(now);
            }
            let held = Arc::default();
            known.traces.push(Written {
                writer: writer.clone(),
                remote: Arc::clone(&remote),
                held: Arc::clone(&held),
            });
            let trace = FakeTrace {
                writer,
                remote,
                held,
                closing,
            };
            Ok(Box::new(trace) as Box<dyn Trace>)
        }
        .boxed()
    }
}

struct FakeTrace {
    writer: TraceWriter,
    remote: Arc<watch::Sender<Remote>>,
    held: Arc<AtomicBool>,
    closing: Duration,
}

impl Trace for FakeTrace {
    fn writer(&self) -> TraceWriter {
        self.writer.clone()
    }

    fn remote(&self) -> watch::Receiver<Remote> {
        let mut remote = self.remote.subscribe();
        remote.mark_changed();
        remote
    }

    fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Option<TraceMark>> {
        async move {
            tokio::time::sleep(self.closing).await;
            None
        }
        .boxed()
    }
}
