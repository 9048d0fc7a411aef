//! `onspot worker`: the worker's loop on an instance.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use onspot_executor::{DockerExecutor, Executor};
use onspot_ledger::{Ledger, Step, WorkerId};
use onspot_settings::{Docker, Runner, WorkerSettings};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::coordinator::GitLabJobs;
use crate::imds::Imds;
use crate::liveness::Liveness;
use crate::setup::{SetupError, client_on, docker_settings};
use crate::worker::{CachePlace, WorkEnd, WorkerContext, registry, watch_for_interruption, work};

/// The pause between two tries to reach something that a booting instance may not have yet.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long Docker may take to come up on a booting instance.
const DOCKER_LIMIT: Duration = Duration::from_mins(2);

/// What a worker on an instance needs to run.
pub struct InstanceContext {
    /// The `worker.toml`.
    pub settings: WorkerSettings,
    /// What is where.
    pub ledger: Arc<dyn Ledger>,
    /// The instance's own connection to S3, for the jobs' cache.
    pub s3: aws_sdk_s3::Client,
    /// The instance's metadata.
    pub imds: Imds,
    /// Hears from the loops that they go round.
    pub liveness: Liveness,
    /// The binary that runs in the helper container: this one.
    pub helper_binary: PathBuf,
}

/// Runs jobs until `shutdown`, or until the machine should be shut down.
///
/// # Errors
/// If jobs can't be run on this host, or another agent has taken over.
pub async fn run_worker(
    context: InstanceContext,
    shutdown: CancellationToken,
) -> Result<WorkEnd, SetupError> {
    let WorkerSettings {
        runner,
        docker,
        cache,
        slots,
        max_builds,
        role_id,
        lease_file,
        registry_port,
        timing,
        // Already used by the caller, for `ledger`, `s3` and the logs.
        stack: _,
        region: _,
        endpoint_url: _,
        bucket: _,
        log_group: _,
    } = context.settings;
    // The engine may ask for images before it answers the first request below.
    let _registry = registry_port.map(|port| {
        let ledger = Arc::clone(&context.ledger);
        AbortOnDropHandle::new(tokio::spawn(registry::serve(port, ledger)))
    });
    let clock = Clock::system();
    let instance = tokio::select! {
        instance = instance_id(&context.imds) => instance,
        () = shutdown.cancelled() => return Ok(WorkEnd::Stopped),
    };
    let executor = tokio::select! {
        executor = executor(&runner, &docker, slots, &context.helper_binary) => executor?,
        () = shutdown.cancelled() => return Ok(WorkEnd::Stopped),
    };
    let cache = cache.map(|cache| CachePlace::in_bucket(&cache, context.s3));
    let (tell, interruption) = watch::channel(None);
    let interval = timing.interruption_poll;
    tokio::spawn(watch_for_interruption(context.imds, interval, tell));
    let milestones = vec![booted_at(&clock)];
    let gitlab = client_on(&runner, Some(instance.as_str()))?;
    let worker = WorkerContext {
        ledger: context.ledger,
        clock,
        id: WorkerId::of(&role_id, &instance),
        version: onspot_gitlab::VERSION.to_owned(),
        slots: slots.max(1),
        max_builds,
        executor: Arc::new(executor),
        coordinator: Arc::new(GitLabJobs::new(gitlab, runner.clone())),
        cache: cache.unwrap_or(CachePlace::None),
        lease_file: Some(lease_file),
        interruption,
        liveness: context.liveness,
        milestones,
        ends_itself: true,
        timing,
    };
    Ok(work(Arc::new(worker), shutdown).await?)
}

async fn instance_id(imds: &Imds) -> String {
    loop {
        match imds.instance_id().await {
            Ok(instance) => return instance,
            Err(error) => tracing::warn!(%error, "the instance does not know itself yet"),
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Docker may come up after this service does.
async fn executor(
    runner: &Runner,
    docker: &Docker,
    slots: u32,
    binary: &std::path::Path,
) -> Result<impl Executor, SetupError> {
    // The payloads carry everything that depends on the runner's token.
    let mut settings = docker_settings(runner, docker, "", binary.to_owned())?;
    // The machine serves jobs only, and a single job must not use up all its memory.
    settings.memory_shared_by = Some(usize::try_from(slots).unwrap_or(usize::MAX));
    let begun = tokio::time::Instant::now();
    loop {
        match DockerExecutor::connect(settings.clone()).await {
            Ok(executor) => return Ok(executor),
            Err(error) if begun.elapsed() > DOCKER_LIMIT => return Err(SetupError::Host(error)),
            Err(error) => tracing::warn!(%error, "Docker is not there yet"),
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// When the kernel started, by this clock.
fn booted_at(clock: &Clock) -> Step {
    Step::new("booted", clock.now() - clock.steady())
}
