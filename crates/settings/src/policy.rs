//! How many workers a runner has: limit, idle rule, growth. `onspot_fleet::decide` applies it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use onspot_notation::Periods;
use serde::{Deserialize, Serialize};

/// How an instance is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifecycle {
    /// Spare capacity: cheap, but EC2 takes it back with two minutes' notice.
    Spot,
    /// Full price; it stays until onspot terminates it.
    OnDemand,
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
        })
    }
}

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
    #[serde(with = "crate::duration")]
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
    #[serde(with = "crate::duration::or_never")]
    pub on_demand_after: Option<Duration>,
    /// How long an instance may take from its launch to its first report.
    #[serde(with = "crate::duration")]
    pub boot_limit: Duration,
    /// Other idle numbers for certain times. If several periods apply, the last one wins; outside
    /// all periods, the numbers above apply.
    pub periods: Vec<IdlePeriod>,
}

/// The idle numbers for certain times, in place of the policy's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdlePeriod {
    /// When they apply.
    pub when: Periods,
    /// As in [`Policy`].
    pub idle_count: u32,
    /// As in [`Policy`].
    pub idle_count_min: u32,
    /// As in [`Policy`].
    pub idle_scale_factor: f64,
    /// As in [`Policy`].
    #[serde(with = "crate::duration")]
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
