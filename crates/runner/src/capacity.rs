//! Where workers come from: EC2, or this host.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use onspot_fleet::{
    Error as FleetError, Instance, InstanceId, LaunchFailure, LaunchRequest, Launched, Pool,
};
use onspot_ledger::RunnerName;

mod ec2;
mod host;

pub use host::HostCapacity;

/// An instance that was asked for, and what it is; `None` if there is no such instance.
pub type LookedUp = (InstanceId, Option<Instance>);

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
/// Two implementations: [`Ec2Fleet`](onspot_fleet::Ec2Fleet), and [`HostCapacity`] for one host
/// without AWS.
pub trait Capacity: Send + Sync {
    /// All instances there are.
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>>;

    /// What has become of these instances, asked for one by one: a list of EC2's may lag behind,
    /// and goes by tags that anybody may edit. `None` for one that is not known; one of which
    /// nothing is known, not even that, is left out.
    fn look_up(
        &self,
        instances: Vec<InstanceId>,
    ) -> BoxFuture<'_, Result<Vec<LookedUp>, CapacityError>>;

    /// The pools that launches may use; empty if there are none to choose from.
    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>>;

    /// Launches instances. Pools that give nothing are not an error but part of the answer.
    fn launch(&self, request: LaunchRequest) -> BoxFuture<'_, Result<Launched, CapacityError>>;

    /// Gives instances back. Ones that are gone are no error.
    fn terminate(&self, instances: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>>;

    /// What an instance wrote to its console, for the diagnosis of one that never reported.
    fn console(&self, _: InstanceId) -> BoxFuture<'_, Result<Option<String>, CapacityError>> {
        async { Ok(None) }.boxed()
    }

    /// The version of what instances are made from, where there are versions.
    fn template_version(&self) -> BoxFuture<'_, Result<Option<i64>, CapacityError>> {
        async { Ok(None) }.boxed()
    }

    /// Instances of the same stack that are workers of none of `runners`, where there may be any.
    fn strays(&self, _: Vec<RunnerName>) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }
}
