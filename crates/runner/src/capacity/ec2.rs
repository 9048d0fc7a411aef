//! Workers on EC2: the calls of `onspot_fleet`, each with a time limit.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use onspot_fleet::{
    Ec2Fleet, Error as FleetError, Instance, InstanceId, LaunchRequest, Launched, Lifecycle, Pool,
};
use onspot_ledger::RunnerName;

use super::{Capacity, CapacityError, LookedUp};

/// How long one call to EC2, the SDK's retries included, may take.
const CALL_LIMIT: Duration = Duration::from_mins(1);

impl Capacity for Ec2Fleet {
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        async move {
            let mut instances = limited("observe", self.observe()).await?;
            match limited("compare", self.outdated(&instances)).await {
                Ok(outdated) => {
                    for instance in &mut instances {
                        instance.outdated = outdated.contains(&instance.id);
                    }
                }
                // Without an answer no worker counts as outdated, because renewal is never urgent.
                Err(error) => {
                    let error = crate::leader::chain(&error);
                    tracing::warn!(error, "outdated workers are not replaced for now");
                }
            }
            Ok(instances)
        }
        .boxed()
    }

    fn look_up(
        &self,
        instances: Vec<InstanceId>,
    ) -> BoxFuture<'_, Result<Vec<LookedUp>, CapacityError>> {
        async move { limited("look up", self.by_id(&instances)).await }.boxed()
    }

    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>> {
        async move {
            let mut pools = limited("observe", self.pools(Lifecycle::Spot)).await?;
            pools.extend(limited("observe", self.pools(Lifecycle::OnDemand)).await?);
            Ok(pools)
        }
        .boxed()
    }

    fn launch(&self, request: LaunchRequest) -> BoxFuture<'_, Result<Launched, CapacityError>> {
        async move { limited("launch", self.launch(request)).await }.boxed()
    }

    fn terminate(&self, instances: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>> {
        async move { limited("terminate", self.terminate(&instances)).await }.boxed()
    }

    fn console(
        &self,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<Option<String>, CapacityError>> {
        async move { limited("read the console of", self.console(&instance)).await }.boxed()
    }

    fn template_version(&self) -> BoxFuture<'_, Result<Option<i64>, CapacityError>> {
        let version = limited("look at the template of", self.template_version());
        async move { version.await.map(Some) }.boxed()
    }

    fn strays(
        &self,
        runners: Vec<RunnerName>,
    ) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        async move {
            let runners = runners.iter().map(RunnerName::as_str).collect();
            limited("look for stray", self.strays(&runners)).await
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
