//! Workers on EC2, by way of `onspot_fleet`.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use onspot_fleet::{
    Ec2Fleet, FleetError, Instance, InstanceId, InstanceState, LaunchRequest, Lifecycle, Pool,
};
use onspot_ledger::{RunnerName, WorkerId};

use super::{Capacity, CapacityError, LookedUp, Machine, Purchase, Purchased};

/// How long one call to EC2, the SDK's retries included, may take.
const CALL_LIMIT: Duration = Duration::from_mins(1);

/// The workers of one `[[runners]]` on EC2.
#[derive(Debug)]
pub struct Ec2Capacity {
    fleet: Ec2Fleet,
    role_id: String,
}

impl Ec2Capacity {
    /// The workers of `fleet`, whose role has the unique id `role_id`.
    pub fn new(fleet: Ec2Fleet, role_id: impl Into<String>) -> Self {
        Self {
            fleet,
            role_id: role_id.into(),
        }
    }

    /// Without an answer nobody is outdated: renewing is never urgent.
    async fn outdated(&self, instances: &[Instance]) -> BTreeSet<InstanceId> {
        match limited("compare", self.fleet.outdated(instances)).await {
            Ok(outdated) => outdated,
            Err(error) => {
                let error = crate::leader::chain(&error);
                tracing::warn!(error, "outdated workers are not replaced for now");
                BTreeSet::new()
            }
        }
    }

    fn worker(&self, instance: &InstanceId) -> WorkerId {
        WorkerId::of(&self.role_id, instance.as_str())
    }

    fn machine(&self, instance: Instance) -> Machine {
        Machine {
            worker: self.worker(&instance.id),
            instance: instance.id,
            state: instance.state,
            lifecycle: Some(instance.pool.lifecycle),
            pool: Some(instance.pool),
            launched_at: instance.launched_at,
            reason: instance.reason,
            outdated: false,
        }
    }
}

impl Capacity for Ec2Capacity {
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Machine>, CapacityError>> {
        async move {
            let instances = limited("observe", self.fleet.observe()).await?;
            let outdated = self.outdated(&instances).await;
            let machines = instances.into_iter().map(|instance| Machine {
                outdated: outdated.contains(&instance.id),
                ..self.machine(instance)
            });
            Ok(machines.collect())
        }
        .boxed()
    }

    fn look_up(
        &self,
        instances: Vec<InstanceId>,
    ) -> BoxFuture<'_, Result<Vec<LookedUp>, CapacityError>> {
        async move {
            let found = limited("look up", self.fleet.by_id(&instances)).await?;
            let found = found.into_iter();
            Ok(found
                .map(|(id, instance)| (id, instance.map(|instance| self.machine(instance))))
                .collect())
        }
        .boxed()
    }

    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>> {
        async move {
            let mut pools = limited("observe", self.fleet.pools(Lifecycle::Spot)).await?;
            pools.extend(limited("observe", self.fleet.pools(Lifecycle::OnDemand)).await?);
            Ok(pools)
        }
        .boxed()
    }

    fn launch(&self, purchase: Purchase) -> BoxFuture<'_, Result<Purchased, CapacityError>> {
        async move {
            let request = LaunchRequest {
                count: purchase.count,
                lifecycle: purchase.lifecycle,
                token: purchase.token,
                avoid: purchase.avoid,
            };
            let launched = limited("launch", self.fleet.launch(request)).await?;
            let launched_at = Timestamp::now();
            let machines = launched.instances.into_iter().map(|instance| Machine {
                worker: self.worker(&instance.id),
                instance: instance.id,
                state: InstanceState::Pending,
                lifecycle: Some(instance.pool.lifecycle),
                pool: Some(instance.pool),
                launched_at,
                reason: None,
                outdated: false,
            });
            Ok(Purchased {
                machines: machines.collect(),
                errors: launched.errors,
            })
        }
        .boxed()
    }

    fn terminate(&self, instances: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>> {
        async move { limited("terminate", self.fleet.terminate(&instances)).await }.boxed()
    }

    fn console(
        &self,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<Option<String>, CapacityError>> {
        async move { limited("read the console of", self.fleet.console(&instance)).await }.boxed()
    }

    fn template_version(&self) -> BoxFuture<'_, Result<Option<i64>, CapacityError>> {
        let version = limited("look at the template of", self.fleet.template_version());
        async move { version.await.map(Some) }.boxed()
    }

    fn strays(
        &self,
        runners: Vec<RunnerName>,
    ) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        async move {
            let runners = runners.iter().map(RunnerName::as_str).collect();
            limited("look for stray", self.fleet.strays(&runners)).await
        }
        .boxed()
    }
}

async fn limited<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, FleetError>>,
) -> Result<T, CapacityError> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(answer) => answer.map_err(|source| CapacityError::Ec2 { operation, source }),
        Err(_elapsed) => Err(CapacityError::Timeout {
            operation,
            limit: CALL_LIMIT,
        }),
    }
}
