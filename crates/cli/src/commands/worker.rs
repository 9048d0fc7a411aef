//! `onspot worker`: runs jobs, on its instance.

use std::sync::Arc;

use onspot_ledger::{DEFAULT_PREFIX, S3Ledger};
use onspot_runner::{InstanceContext, Liveness, Retirement, WorkEnd, run_worker};
use onspot_settings::WorkerSettings;
use tokio_util::sync::CancellationToken;

use super::run::this_binary;
use crate::cli::Worker;
use crate::failure::Failure;
use crate::instance::{Instance, Logs};

/// Runs jobs until it is told to stop.
pub(crate) async fn worker(args: &Worker) -> Result<(), Failure> {
    let settings = WorkerSettings::load(&args.config)?;
    let instance = Instance::here(&settings.region, settings.endpoint_url.as_deref()).await?;
    let group = settings.log_group.clone();
    let units = &["onspot-worker.service", "onspot-watchdog.service"];
    let logs = Logs {
        group: &group,
        role: "worker",
        units,
    };
    let s3 = onspot_stack::s3(&instance.aws);
    let liveness = Liveness::new();
    let context = InstanceContext {
        liveness: liveness.clone(),
        ledger: Arc::new(S3Ledger::new(s3.clone(), &settings.bucket, DEFAULT_PREFIX)),
        settings,
        s3,
        imds: instance.imds.clone(),
        helper_binary: this_binary()?,
    };
    let work = |shutdown: CancellationToken| async move {
        match run_worker(context, shutdown.clone()).await? {
            WorkEnd::Stopped => Ok(()),
            WorkEnd::Retired(why) => end_machine(why, &shutdown).await,
        }
    };
    instance.serve(logs, &liveness, work).await
}

/// Turns the machine off, which terminates the instance: launch templates are set so, and one-time
/// spot instances always are. Returns when systemd stops this service during the shutdown.
async fn end_machine(why: Retirement, shutdown: &CancellationToken) -> Result<(), Failure> {
    tracing::warn!(%why, "this worker turns its machine off");
    let off = tokio::process::Command::new("systemctl")
        .args(["poweroff", "--no-block"])
        .status()
        .await;
    match off {
        Ok(status) if status.success() => {
            shutdown.cancelled().await;
            Ok(())
        }
        Ok(status) => Err(Failure::new(format!(
            "the machine can't be turned off: systemctl poweroff ended with {status}"
        ))),
        Err(error) => Err(Failure::caused("the machine can't be turned off", error)),
    }
}
