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

/// The jobs that want capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Jobs that no worker has yet, those of `waiting_on_demand` among them.
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
        /// Since when it has none, if it has none.
        idle_since: Option<Timestamp>,
    },
    /// It takes no new jobs: asked to drain, to be taken away by EC2, or silent for too long.
    Leaving {
        /// The jobs that are still its own.
        jobs: u32,
        /// Whether those will have to be run elsewhere.
        losing: bool,
        /// Whether the instance may go once it has no job: not before the worker said so.
        done: bool,
    },
    /// EC2 ends its instance already: it is no capacity any more, and counts against no limit.
    Ending {
        /// The jobs that are still its own, and will have to be run elsewhere.
        jobs: u32,
    },
}

/// A worker when it is decided what to do. `Id` is what the caller calls it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker<Id> {
    /// Which one.
    pub id: Id,
    /// How far it is.
    pub stage: Stage,
    /// Where it came from, and how it is paid for.
    pub pool: Pool,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// Attempts that it was given in its life, the present ones among them.
    pub uses: u32,
    /// Whether it was launched from something else than is launched now.
    pub outdated: bool,
}

impl<Id> Worker<Id> {
    /// Since when it could take jobs and has none.
    pub fn idle_since(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Ready {
                free: 1..,
                jobs: 0,
                idle_since,
            } => Some(idle_since.unwrap_or(self.launched_at)),
            _ => None,
        }
    }

    /// Whether it reports, takes jobs and is not idle.
    pub fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. }) && self.idle_since().is_none()
    }

    /// Whether it is on its way.
    pub fn is_coming(&self) -> bool {
        matches!(self.stage, Stage::Launching | Stage::Booting)
    }

    /// Whether it counts against the limit.
    pub fn counts(&self) -> bool {
        !matches!(self.stage, Stage::Ending { .. })
    }

    /// Takes in that it is given a job.
    pub fn take_job(&mut self) {
        if let Stage::Ready { free, jobs, .. } = &mut self.stage {
            *free = free.saturating_sub(1);
            *jobs += 1;
            self.uses += 1;
        }
    }
}

/// All that the policy looks at beside the demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<Id> {
    /// The workers that are there or on their way.
    pub workers: Vec<Worker<Id>>,
    /// What is known about the pools.
    pub pools: Pools,
    /// The pools that launches may use; empty if unknown, then none counts as dry.
    pub candidates: Vec<Pool>,
    /// What is known of the latest boots.
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
    /// It was launched and never reported.
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
    /// Give a worker no more jobs, so that it can be terminated: an idle one, or an outdated one.
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
