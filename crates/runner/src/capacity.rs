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

/// A looked-up instance and its current state; `None` if there is no such instance.
pub type LookedUp = (InstanceId, Option<Instance>);

/// Why capacity could not be observed or changed.
#[derive(Debug, thiserror::Error)]
pub enum CapacityError {
    /// EC2 refused or failed.
    #[error("cannot {operation} workers")]
    Ec2 {
        /// The operation that failed.
        operation: &'static str,
        /// What EC2 said.
        #[source]
        source: FleetError,
    },
    /// The call did not end in time; it may have had its effect.
    #[error("cannot {operation} workers: no answer within {limit:?}")]
    Timeout {
        /// The operation that failed.
        operation: &'static str,
        /// How long the caller waited.
        limit: Duration,
    },
}

impl CapacityError {
    /// What this error means if a launch failed with it.
    pub fn launch_failure(&self) -> LaunchFailure {
        match self {
            Self::Ec2 { source, .. } => source.launch_failure(),
            Self::Timeout { .. } => LaunchFailure::Unknown,
        }
    }

    /// EC2's error code (empty if there is none) and message.
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
    /// All instances that exist.
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>>;

    /// The current states of these instances, looked up by id, because EC2's list may lag behind
    /// and depends on tags that anybody may edit. `None` for one that does not exist; one whose
    /// state could not be found out is left out.
    fn look_up(
        &self,
        instances: Vec<InstanceId>,
    ) -> BoxFuture<'_, Result<Vec<LookedUp>, CapacityError>>;

    /// The pools that launches may use; empty if there are none to choose from.
    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>>;

    /// Launches instances. Pools that give nothing are not an error but part of the answer.
    fn launch(&self, request: LaunchRequest) -> BoxFuture<'_, Result<Launched, CapacityError>>;

    /// Terminates instances. Instances that are already gone are no error.
    fn terminate(&self, instances: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>>;

    /// The console output of an instance, for the diagnosis of one that never reported.
    fn console(&self, _: InstanceId) -> BoxFuture<'_, Result<Option<String>, CapacityError>> {
        async { Ok(None) }.boxed()
    }

    /// The version of the launch template, if instances are made from one.
    fn template_version(&self) -> BoxFuture<'_, Result<Option<i64>, CapacityError>> {
        async { Ok(None) }.boxed()
    }

    /// Workers of the same stack that belong to none of `runners`, if this kind of capacity can
    /// have any.
    fn strays(&self, _: Vec<RunnerName>) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }
}
