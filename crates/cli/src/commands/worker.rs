//! `onspot worker`: runs jobs, on its instance.

use std::sync::Arc;

use onspot_ledger::{DEFAULT_PREFIX, S3Ledger};
use onspot_runner::settings::WorkerSettings;
use onspot_runner::{InstanceContext, run_worker};

use super::run::this_binary;
use crate::cli::Worker;
use crate::failure::Failure;
use crate::instance::{Instance, Logs};

/// Runs jobs until it is told to end.
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
    let context = InstanceContext {
        ledger: Arc::new(S3Ledger::new(s3.clone(), &settings.bucket, DEFAULT_PREFIX)),
        settings,
        s3,
        imds: instance.imds.clone(),
        helper_binary: this_binary()?,
    };
    let work = |shutdown| async { run_worker(context, shutdown).await.map_err(Failure::from) };
    instance.serve(logs, work).await
}
