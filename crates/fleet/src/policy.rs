//! How many workers there should be: one pure function, [`decide()`].

mod boots;
mod decide;
mod pools;
mod renew;

use std::time::Duration;

use jiff::Timestamp;
use onspot_settings::Policy;
use serde::{Deserialize, Serialize};

pub use boots::{BootHalt, Boots, FailedBoot};
pub use decide::decide;
pub use pools::{DRY_FOR, Extent, Pools, Refused};

use crate::{Lifecycle, Pool};

/// The jobs that need capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Jobs that no worker has yet, including those of `waiting_on_demand`.
    pub waiting: u32,
    /// Jobs that a worker has.
    pub running: u32,
    /// Waiting jobs that must not run on spot (second attempts).
    pub waiting_on_demand: u32,
    /// How long the oldest waiting job has waited.
    pub longest_wait: Duration,
}

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// EC2 starts its instance.
    Launching,
    /// The instance runs and has not reported yet.
    Booting,
    /// It reports and takes jobs.
    Ready {
        /// The slots that nothing occupies.
        free: u32,
        /// The jobs it has.
        jobs: u32,
        /// Since when it has none; `None` exactly while it has some.
        idle_since: Option<Timestamp>,
    },
    /// It takes no new jobs, because it is draining, interrupted by EC2, or silent for too long.
    Leaving {
        /// The jobs that are still its own.
        jobs: u32,
        /// Whether those jobs will have to run elsewhere.
        losing: bool,
        /// Whether the instance may be terminated once it has no job, which the worker itself has
        /// to report first.
        done: bool,
    },
    /// EC2 is already terminating its instance: it offers no capacity and counts against no limit.
    Ending {
        /// The jobs that are still its own and will have to run elsewhere.
        jobs: u32,
    },
}

/// A worker as the policy sees it. `Id` is the caller's type of identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker<Id> {
    /// Its identifier.
    pub id: Id,
    /// Its stage.
    pub stage: Stage,
    /// The pool that it came from, which says how it is paid for.
    pub pool: Pool,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// How many attempts it has been given in its life, including the present ones.
    pub uses: u32,
    /// Whether it was launched from other content than launches use now.
    pub outdated: bool,
}

impl<Id> Worker<Id> {
    /// Since when it is ready and has no job.
    pub fn idle_since(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Ready {
                free: 1..,
                jobs: 0,
                idle_since,
            } => idle_since,
            _ => None,
        }
    }

    /// Whether it reports, takes jobs and is not idle.
    pub fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. }) && self.idle_since().is_none()
    }

    /// Whether it is launching or booting.
    pub fn is_coming(&self) -> bool {
        matches!(self.stage, Stage::Launching | Stage::Booting)
    }

    /// Whether it counts against the limit.
    pub fn counts(&self) -> bool {
        !matches!(self.stage, Stage::Ending { .. })
    }

    /// Records that it is given a job.
    pub fn take_job(&mut self) {
        if let Stage::Ready { free, jobs, .. } = &mut self.stage {
            *free = free.saturating_sub(1);
            *jobs += 1;
            self.uses += 1;
        }
    }
}

/// Everything that the policy looks at besides the demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<Id> {
    /// The workers that exist or are being launched.
    pub workers: Vec<Worker<Id>>,
    /// What is known about the pools.
    pub pools: Pools,
    /// The pools that launches may use; empty if unknown, then none counts as dry.
    pub candidates: Vec<Pool>,
    /// The latest boots.
    pub boots: Boots,
}

impl<Id> Default for View<Id> {
    fn default() -> Self {
        Self {
            workers: Vec::new(),
            pools: Pools::default(),
            candidates: Vec::new(),
            boots: Boots::default(),
        }
    }
}

/// Why an instance is terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was drained and has no job any more.
    Drained,
    /// It was launched but never reported.
    NeverReported,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Drained => "it has finished and is not needed",
            Self::NeverReported => "it was launched and never reported",
        })
    }
}

/// What to do about the number of workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scale<Id> {
    /// Launch workers.
    Launch {
        /// How many; 1 at least.
        count: u32,
        /// How they are paid for.
        lifecycle: Lifecycle,
    },
    /// Give an idle or outdated worker no more jobs, so that it can be terminated.
    Drain {
        /// The worker.
        worker: Id,
    },
    /// Terminate the instance of a worker without jobs.
    Terminate {
        /// The worker.
        worker: Id,
        /// Why.
        reason: Reason,
    },
}
