//! What the schedule looks at.

use jiff::Timestamp;
use onspot_fleet::{Lifecycle, Policy, Worker};
use onspot_ledger::{RunnerName, WorkerId};

/// Everything the schedule looks at.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The most jobs at a time, over all runners (`concurrent`).
    pub concurrent: u32,
    /// The runners.
    pub runners: Vec<RunnerView>,
}

/// One `[[runners]]` section.
#[derive(Debug, Clone)]
pub struct RunnerView {
    /// Its name.
    pub name: RunnerName,
    /// The most jobs at a time; 0 for no limit of its own (`limit`).
    pub limit: u32,
    /// Open requests to GitLab, each of which may bring a job.
    pub asking: u32,
    /// How many requests were ever sent for it.
    pub asked: u64,
    /// How many requests may be open at a time (`request_concurrency`).
    pub request_concurrency: u32,
    /// How workers are launched; `None` if they can't be.
    pub policy: Option<Policy>,
    /// Whether the instances have been observed; before that nothing is launched or assigned.
    pub observed: bool,
    /// The jobs that are not over.
    pub jobs: Vec<JobView>,
    /// The workers, and what is known about their pools.
    pub fleet: onspot_fleet::View<WorkerId>,
    /// Whether a launch has not been answered yet.
    pub in_doubt: bool,
}

/// A job that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// GitLab's number.
    pub id: u64,
    /// When it was received.
    pub received_at: Timestamp,
    /// When everything must be over.
    pub deadline: Timestamp,
    /// The attempt that is running or will run next.
    pub attempt: u32,
    /// Where it is.
    pub place: Place,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere yet.
    Waiting,
    /// With a worker.
    With(WorkerId),
    /// The verdict is in the record, and GitLab is being told.
    Ending,
}

impl RunnerView {
    /// A runner without jobs, workers or limits.
    pub fn new(name: RunnerName) -> Self {
        Self {
            name,
            limit: 0,
            asking: 0,
            asked: 0,
            request_concurrency: 1,
            policy: None,
            observed: true,
            jobs: Vec::new(),
            fleet: onspot_fleet::View::default(),
            in_doubt: false,
        }
    }

    /// The jobs that wait, oldest first.
    pub(super) fn waiting(&self) -> Vec<&JobView> {
        let jobs = self.jobs.iter();
        let mut waiting: Vec<&JobView> = jobs.filter(|job| job.place == Place::Waiting).collect();
        waiting.sort_by_key(|job| (job.received_at, job.id));
        waiting
    }

    /// The jobs that count against the limits: all except those that are ending.
    pub fn in_flight(&self) -> u32 {
        count(self.jobs.iter().filter(|job| job.place != Place::Ending))
    }
}

impl JobView {
    /// Whether the job must run on demand, because it has already lost a worker once.
    pub fn is_strict(&self) -> bool {
        self.attempt > 1
    }

    /// Whether the job may run on a worker.
    pub fn suits(&self, worker: &Worker<WorkerId>) -> bool {
        !self.is_strict() || worker.pool.lifecycle != Lifecycle::Spot
    }
}

/// Counts items as `u32`, the type of all counts in this crate.
pub(super) fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
