//! Where workers come from: EC2, or this host.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use onspot_fleet::{
    FleetError, Instance, InstanceId, InstanceState, LaunchFailure, Lifecycle, Pool, PoolError,
};
use onspot_ledger::{RunnerName, WorkerId};

mod ec2;
mod host;

pub use ec2::Ec2Capacity;
pub use host::HostCapacity;

/// A machine that is, or was, a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its instance.
    pub instance: InstanceId,
    /// The worker on it.
    pub worker: WorkerId,
    /// What it does.
    pub state: InstanceState,
    /// How it is paid for; `None` for a machine that nobody takes away.
    pub lifecycle: Option<Lifecycle>,
    /// Which pool it came from, if from one.
    pub pool: Option<Pool>,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// Why it ended, in EC2's words, for example `Server.SpotInstanceTermination`.
    pub reason: Option<String>,
    /// Whether it was launched from something else than is launched now.
    pub outdated: bool,
}

/// What to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// How many machines, at least 1.
    pub count: u32,
    /// How they are paid for.
    pub lifecycle: Lifecycle,
    /// The same token never launches twice.
    pub token: String,
    /// Pools that had nothing a short while ago.
    pub avoid: Vec<Pool>,
}

/// What a purchase gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purchased {
    /// The new machines.
    pub machines: Vec<Machine>,
    /// The pools that gave nothing, and why.
    pub errors: Vec<PoolError>,
}

/// An instance that was asked for, and what it is; `None` if there is no such instance.
pub type LookedUp = (InstanceId, Option<Machine>);

/// Why capacity could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum CapacityError {
    /// EC2 refused or failed.
    #[error("cannot {operation} workers")]
    Ec2 {
        /// What was tried.
        operation: &'static str,
        /// What EC2 said.
        #[source]
        source: FleetError,
    },
    /// The call did not end in time; it may have had its effect.
    #[error("cannot {operation} workers: no answer within {limit:?}")]
    Timeout {
        /// What was tried.
        operation: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
}

impl CapacityError {
    /// What a launch that failed with this means.
    pub fn launch_failure(&self) -> LaunchFailure {
        match self {
            Self::Ec2 { source, .. } => source.launch_failure(),
            Self::Timeout { .. } => LaunchFailure::Unknown,
        }
    }

    /// EC2's error code, or nothing if it has none, and what it says.
    pub fn code_and_message(&self) -> (String, String) {
        match self {
            Self::Ec2 {
                source: FleetError::Call(call),
                ..
            } => (
                call.code().unwrap_or_default().to_owned(),
                call.message().to_owned(),
            ),
            Self::Ec2 { source, .. } => (String::new(), source.to_string()),
            Self::Timeout { .. } => (String::new(), self.to_string()),
        }
    }
}

/// Where the workers of one `[[runners]]` come from.
///
/// Two implementations: [`Ec2Capacity`], and [`HostCapacity`] for one host without AWS.
pub trait Capacity: Send + Sync {
    /// All machines there are, and those that ended a short while ago.
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Machine>, CapacityError>>;

    /// What has become of these instances, asked for one by one: a list of EC2's may lag behind,
    /// and goes by tags that anybody may edit. `None` for one that is not known; one of which
    /// nothing is known, not even that, is left out.
    fn look_up(
        &self,
        instances: Vec<InstanceId>,
    ) -> BoxFuture<'_, Result<Vec<LookedUp>, CapacityError>>;

    /// The pools that purchases may use; empty if there are none to choose from.
    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>>;

    /// Launches machines. Pools that give nothing are not an error but part of the answer.
    fn launch(&self, purchase: Purchase) -> BoxFuture<'_, Result<Purchased, CapacityError>>;

    /// Gives machines back. Ones that are gone are no error.
    fn terminate(&self, instances: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>>;

    /// What a machine wrote to its console, for the diagnosis of one that never reported.
    fn console(&self, _: InstanceId) -> BoxFuture<'_, Result<Option<String>, CapacityError>> {
        async { Ok(None) }.boxed()
    }

    /// The version of what machines are made from, where there are versions.
    fn template_version(&self) -> BoxFuture<'_, Result<Option<i64>, CapacityError>> {
        async { Ok(None) }.boxed()
    }

    /// Instances of the same stack that are workers of none of `runners`, where there may be any.
    fn strays(&self, _: Vec<RunnerName>) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }
}
