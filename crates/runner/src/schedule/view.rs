//! What the schedule looks at.

use jiff::Timestamp;
use onspot_fleet::{Boots, InstanceId, Lifecycle, Policy, Pool, Pools};
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
    /// Requests to GitLab that are on their way: each may bring a job.
    pub asking: u32,
    /// How many requests may be on their way at a time (`request_concurrency`).
    pub request_concurrency: u32,
    /// How workers are bought; `None` if they can't be.
    pub policy: Option<Policy>,
    /// Whether the machines were looked at: before that nothing is bought or given away.
    pub observed: bool,
    /// The jobs that are not over.
    pub jobs: Vec<JobView>,
    /// The workers that are there or on their way.
    pub workers: Vec<WorkerView>,
    /// What is known of the pools.
    pub pools: Pools,
    /// The pools that purchases may use.
    pub candidates: Vec<Pool>,
    /// What is known of the latest boots.
    pub boots: Boots,
    /// Whether a purchase had no answer yet.
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
    /// The attempt that is waited for, or that runs.
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
    /// With GitLab: the verdict stands.
    Ending,
}

/// A worker that is there or on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// The worker.
    pub id: WorkerId,
    /// Its instance.
    pub instance: InstanceId,
    /// How far it is.
    pub stage: Stage,
    /// How it is paid for; `None` for one that nobody takes away.
    pub lifecycle: Option<Lifecycle>,
    /// The pool it came from.
    pub pool: Option<Pool>,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// Attempts that it was given in its life, the present ones among them.
    pub uses: u32,
    /// Whether it was launched from something else than is launched now.
    pub outdated: bool,
}

/// How far a worker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// EC2 starts it.
    Launching,
    /// It runs and did not report yet.
    Booting,
    /// It reports and takes jobs.
    Ready {
        /// The slots that nothing occupies.
        free: u32,
        /// The jobs it has.
        jobs: u32,
        /// Since when it has none, if it has none.
        idle_since: Option<Timestamp>,
    },
    /// It takes no new jobs: asked to drain, to be taken away by EC2, or silent for too long.
    Leaving {
        /// The jobs that are still its own.
        jobs: u32,
        /// Whether those will have to be run elsewhere.
        losing: bool,
        /// Whether the instance may go now.
        done: bool,
    },
    /// EC2 ends its instance already: it is no capacity any more.
    Ending {
        /// The jobs that are still its own, and will have to be run elsewhere.
        jobs: u32,
    },
}

impl RunnerView {
    /// A runner without jobs, workers or limits.
    pub fn new(name: RunnerName) -> Self {
        Self {
            name,
            limit: 0,
            asking: 0,
            request_concurrency: 1,
            policy: None,
            observed: true,
            jobs: Vec::new(),
            workers: Vec::new(),
            pools: Pools::new(),
            candidates: Vec::new(),
            boots: Boots::default(),
            in_doubt: false,
        }
    }

    /// The jobs that count against the limits: all but those that are with GitLab already.
    pub fn in_flight(&self) -> u32 {
        count(self.jobs.iter().filter(|job| job.place != Place::Ending))
    }
}

impl JobView {
    /// Whether the job must run on a machine that nobody takes away: one loss is enough.
    pub fn is_strict(&self) -> bool {
        self.attempt > 1
    }
}

impl WorkerView {
    /// Whether a job may run here.
    pub fn suits(&self, job: &JobView) -> bool {
        !job.is_strict() || self.lifecycle != Some(Lifecycle::Spot)
    }
}

/// How many there are, as the counts of this crate are.
pub(super) fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
