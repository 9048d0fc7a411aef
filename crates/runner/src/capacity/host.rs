//! This host as the only worker.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use onspot_fleet::{Instance, InstanceId, InstanceState, LaunchRequest, Launched, Lifecycle, Pool};
use onspot_reconcile::Tags;

use super::{Capacity, CapacityError, LookedUp};

/// One machine that always exists; it can be neither launched nor terminated.
#[derive(Debug, Clone)]
pub struct HostCapacity {
    host: Instance,
}

impl HostCapacity {
    /// This host, known by `id`, since `since`.
    pub fn new(id: InstanceId, since: Timestamp) -> Self {
        Self {
            host: Instance {
                id,
                // It is never interrupted.
                pool: Pool::unknown(Lifecycle::OnDemand),
                state: InstanceState::Running,
                launched_at: since,
                reason: None,
                private_ip: None,
                tags: Tags::new(),
                outdated: false,
            },
        }
    }
}

impl Capacity for HostCapacity {
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        async { Ok(vec![self.host.clone()]) }.boxed()
    }

    fn look_up(
        &self,
        instances: Vec<InstanceId>,
    ) -> BoxFuture<'_, Result<Vec<LookedUp>, CapacityError>> {
        let found = instances.into_iter().map(|instance| {
            let known = (instance == self.host.id).then(|| self.host.clone());
            (instance, known)
        });
        let found = found.collect();
        async move { Ok(found) }.boxed()
    }

    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn launch(&self, _: LaunchRequest) -> BoxFuture<'_, Result<Launched, CapacityError>> {
        async { Ok(Launched::default()) }.boxed()
    }

    fn terminate(&self, _: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>> {
        async { Ok(()) }.boxed()
    }
}
