//! This host as the only worker.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use onspot_fleet::{InstanceId, InstanceState, Pool};
use onspot_ledger::WorkerId;

use super::{Capacity, CapacityError, LookedUp, Machine, Purchase, Purchased};

/// One machine that is always there, is not bought and can't be given back.
#[derive(Debug, Clone)]
pub struct HostCapacity {
    worker: WorkerId,
    since: Timestamp,
}

impl HostCapacity {
    /// This host, as `worker`, since `since`.
    pub fn new(worker: WorkerId, since: Timestamp) -> Self {
        Self { worker, since }
    }

    fn machine(&self) -> Machine {
        Machine {
            instance: InstanceId::new(self.worker.instance()),
            worker: self.worker.clone(),
            state: InstanceState::Running,
            lifecycle: None,
            pool: None,
            launched_at: self.since,
            reason: None,
            outdated: false,
        }
    }
}

impl Capacity for HostCapacity {
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Machine>, CapacityError>> {
        let machine = self.machine();
        async move { Ok(vec![machine]) }.boxed()
    }

    fn look_up(
        &self,
        instances: Vec<InstanceId>,
    ) -> BoxFuture<'_, Result<Vec<LookedUp>, CapacityError>> {
        let this = self.machine();
        let found = instances.into_iter().map(move |instance| {
            let known = (instance == this.instance).then(|| this.clone());
            (instance, known)
        });
        let found = found.collect();
        async move { Ok(found) }.boxed()
    }

    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn launch(&self, _: Purchase) -> BoxFuture<'_, Result<Purchased, CapacityError>> {
        async { Ok(Purchased::default()) }.boxed()
    }

    fn terminate(&self, _: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>> {
        async { Ok(()) }.boxed()
    }
}
