//! `onspot manager`: takes jobs from GitLab and buys workers, on its instance.

use std::collections::BTreeMap;
use std::sync::Arc;

use onspot_fleet::{Ec2Fleet, FleetSpec};
use onspot_gitlab::SystemId;
use onspot_ledger::{DEFAULT_PREFIX, S3Ledger};
use onspot_runner::capacity::Capacity;
use onspot_runner::{Liveness, ManagerContext, run_manager};
use onspot_runnerconf::{Config, strange_options};
use onspot_settings::ManagerSettings;
use tokio_util::sync::CancellationToken;

use super::run::usable;
use crate::cli::Manager;
use crate::failure::Failure;
use crate::instance::{Instance, Logs};
use crate::tokens;

/// Runs the manager until it is told to stop.
pub(crate) async fn manager(args: &Manager) -> Result<(), Failure> {
    let config = args.config.as_deref().map(Config::load).transpose()?;
    let config = config.map(usable);
    let mut settings = ManagerSettings::load(&args.stack)?;
    if let Some(config) = config {
        settings = overruled(settings, &config)?;
    }
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
            manage(&instance, settings, liveness, shutdown)
        })
        .await
}

/// The settings with the instances from the stack and everything else from a `config.toml`.
fn overruled(settings: ManagerSettings, config: &Config) -> Result<ManagerSettings, Failure> {
    let settings = config.managed(settings)?;
    for (runner, managed) in config.runners.iter().zip(&settings.runners) {
        for (option, holds) in strange_options(runner, managed, &settings.region) {
            tracing::warn!(
                runner = runner.name(),
                option,
                holds,
                "MachineOptions: the stack's own holds"
            );
        }
    }
    Ok(settings)
}

async fn manage(
    instance: &Instance,
    settings: ManagerSettings,
    liveness: Liveness,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let ssm = aws_sdk_ssm::Client::new(&instance.aws);
    let s3 = onspot_stack::s3(&instance.aws);
    let ec2 = aws_sdk_ec2::Client::new(&instance.aws);
    let runners = settings.runners.iter();
    let runners = runners.map(|managed| (managed.runner.name.as_str(), &managed.token));
    let tokens = tokens::of(runners, Some(&ssm)).await?;
    let mut capacity: BTreeMap<String, Arc<dyn Capacity>> = BTreeMap::new();
    for managed in &settings.runners {
        let fleet = Ec2Fleet::new(ec2.clone(), FleetSpec::of(&settings, managed));
        capacity.insert(managed.runner.name.clone(), Arc::new(fleet));
    }
    let ledger = Arc::new(S3Ledger::new(s3, &settings.bucket, DEFAULT_PREFIX));
    let context = ManagerContext {
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
