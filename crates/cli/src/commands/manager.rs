//! `onspot manager`: takes jobs from GitLab and buys workers, on its instance.

use std::collections::BTreeMap;
use std::sync::Arc;

use onspot_fleet::Ec2Fleet;
use onspot_gitlab::SystemId;
use onspot_ledger::{DEFAULT_PREFIX, S3Ledger};
use onspot_runner::capacity::Capacity;
use onspot_runner::settings::ManagerSettings;
use onspot_runner::{Liveness, ManagerContext, fleet_spec, run_manager};
use onspot_runnerconf::Config;
use tokio_util::sync::CancellationToken;

use super::run::usable;
use crate::cli::Manager;
use crate::failure::Failure;
use crate::instance::{Instance, Logs};
use crate::tokens;

/// Runs the manager until it is told to stop.
pub(crate) async fn manager(args: &Manager) -> Result<(), Failure> {
    let config = usable(Config::load(&args.config)?);
    let settings = ManagerSettings::load(&args.stack)?;
    let instance = Instance::here(&settings.region, settings.endpoint_url.as_deref()).await?;
    let group = settings.log_group.clone();
    let logs = Logs {
        group: &group,
        role: "manager",
        units: &["onspot-manager.service", "onspot-registry.service"],
    };
    let liveness = Liveness::new();
    let loops = liveness.clone();
    instance
        .serve(logs, &loops, |shutdown| {
            manage(&instance, config, settings, liveness, shutdown)
        })
        .await
}

async fn manage(
    instance: &Instance,
    config: Config,
    settings: ManagerSettings,
    liveness: Liveness,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let ssm = aws_sdk_ssm::Client::new(&instance.aws);
    let s3 = onspot_stack::s3(&instance.aws);
    let ec2 = aws_sdk_ec2::Client::new(&instance.aws);
    let tokens = tokens::of(&config, Some(&ssm)).await?;
    let mut capacity: BTreeMap<String, Arc<dyn Capacity>> = BTreeMap::new();
    for (runner, pool) in &settings.runners {
        let fleet = Ec2Fleet::new(ec2.clone(), fleet_spec(&settings, runner, pool));
        capacity.insert(runner.clone(), Arc::new(fleet));
    }
    let ledger = Arc::new(S3Ledger::new(s3, &settings.bucket, DEFAULT_PREFIX));
    let context = ManagerContext {
        config,
        settings,
        tokens,
        ledger,
        capacity,
        liveness,
        name: instance.id.clone(),
        system_id: SystemId::of_this_host(),
    };
    run_manager(context, shutdown).await.map_err(Failure::from)
}
