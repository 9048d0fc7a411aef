//! How many workers there should be: one pure function, [`decide()`].

mod boots;
mod decide;
mod pools;
mod renew;

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use onspot_notation::Periods;
use serde::{Deserialize, Serialize};

pub use boots::{BootHalt, Boots, FailedBoot};
pub use decide::decide;
pub use pools::{DRY_FOR, Extent, Pools, Refused};

use crate::{InstanceId, Lifecycle, Pool};

/// The scaling policy of one `[[runners]]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Most instances at any time, in whatever state; 0 launches none.
    pub limit: u32,
    /// Idle instances to keep ready beside the busy ones (`IdleCount`).
    pub idle_count: u32,
    /// Fewest idle instances while [`idle_scale_factor`](Self::idle_scale_factor) is
    /// used (`IdleCountMin`).
    pub idle_count_min: u32,
    /// If above 0, the idle instances to keep are this multiple of the busy ones, from
    /// `idle_count_min` to `idle_count` (`IdleScaleFactor`).
    pub idle_scale_factor: f64,
    /// How long an instance that is not needed stays idle (`IdleTime`).
    pub idle_time: Duration,
    /// Jobs that run on one instance at a time; 1 at least.
    pub capacity_per_instance: u32,
    /// Jobs after which an instance is given back (`MaxBuilds`); 0 for no end.
    pub max_uses: u32,
    /// Most instances that are launching or booting at a time (`MaxGrowthRate`); 0 for no
    /// bound but [`limit`](Self::limit).
    pub max_growth: u32,
    /// What to launch for jobs that do not ask for on-demand.
    pub lifecycle: Lifecycle,
    /// How long a job waits while all spot pools are dry before on-demand is launched for
    /// it; `None` for never.
    pub on_demand_after: Option<Duration>,
    /// How long an instance may take from its launch to its first report.
    pub boot_limit: Duration,
    /// Other idle numbers for certain times. The last one whose time it is holds; outside of all
    /// of them, the numbers above do.
    pub periods: Vec<IdlePeriod>,
}

/// What is kept idle at certain times, in place of the policy's own numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdlePeriod {
    /// When it holds.
    pub when: Periods,
    /// As in [`Policy`].
    pub idle_count: u32,
    /// As in [`Policy`].
    pub idle_count_min: u32,
    /// As in [`Policy`].
    pub idle_scale_factor: f64,
    /// As in [`Policy`].
    pub idle_time: Duration,
}

impl Policy {
    /// The policy with the idle numbers of this moment.
    pub fn at(&self, now: Timestamp) -> Cow<'_, Self> {
        let Some(period) = self.periods.iter().rfind(|period| period.when.hold(now)) else {
            return Cow::Borrowed(self);
        };
        let IdlePeriod {
            when: _,
            idle_count,
            idle_count_min,
            idle_scale_factor,
            idle_time,
        } = *period;
        Cow::Owned(Self {
            idle_count,
            idle_count_min,
            idle_scale_factor,
            idle_time,
            ..self.clone()
        })
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            limit: 10,
            idle_count: 0,
            idle_count_min: 0,
            idle_scale_factor: 0.0,
            idle_time: Duration::from_mins(10),
            capacity_per_instance: 1,
            max_uses: 0,
            max_growth: 0,
            lifecycle: Lifecycle::Spot,
            on_demand_after: Some(Duration::from_mins(2)),
            boot_limit: Duration::from_mins(5),
            periods: Vec::new(),
        }
    }
}

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

/// What a worker does, as the leader knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// EC2 starts the instance.
    Launching,
    /// The instance runs and has not reported yet.
    Booting,
    /// It reports and has no job.
    Idle {
        /// Since when it has no job.
        since: Timestamp,
    },
    /// It has jobs.
    Busy {
        /// How many.
        jobs: u32,
        /// How many more it could take.
        free: u32,
    },
    /// It finishes what it has and takes nothing new.
    Draining {
        /// How many jobs it still has.
        jobs: u32,
    },
    /// EC2 ends its instance: it is no capacity any more, and counts against no limit.
    Ending,
}

/// A worker as the policy sees it. Only live ones are given to [`decide()`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// The instance.
    pub instance: InstanceId,
    /// What it does.
    pub state: WorkerState,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// Jobs that it was given so far, the present ones among them.
    pub uses: u32,
    /// How it is paid for.
    pub lifecycle: Lifecycle,
    /// Where it came from, if known.
    pub pool: Option<Pool>,
    /// Whether it was launched from something else than is launched now.
    #[serde(default)]
    pub outdated: bool,
}

/// All that the policy looks at beside the demand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The live workers.
    pub workers: Vec<WorkerView>,
    /// What is known about the pools.
    pub pools: Pools,
    /// The pools that launches may use; empty if unknown, then none counts as dry.
    pub candidates: Vec<Pool>,
    /// What is known of the latest boots.
    pub boots: Boots,
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

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Launch instances.
    Launch {
        /// How many; 1 at least.
        count: u32,
        /// How they are paid for.
        lifecycle: Lifecycle,
    },
    /// Give a worker no more jobs, so that it can be terminated: an idle one, or an outdated one.
    Drain {
        /// The worker's instance.
        instance: InstanceId,
    },
    /// Terminate an instance without jobs.
    Terminate {
        /// The instance.
        instance: InstanceId,
        /// Why.
        reason: Reason,
    },
}
