//! `onspot run`: runs jobs on this host, without AWS.

use std::collections::BTreeMap;
use std::path::PathBuf;

use onspot_runner::{Liveness, LocalOptions};
use onspot_runnerconf::{Config, ExecutorKind, lint};

use crate::cli::Run;
use crate::failure::Failure;
use crate::{logging, signals, systemd, tokens};

/// Runs jobs until it is told to stop.
pub(crate) async fn run(args: &Run) -> Result<(), Failure> {
    let config = usable(Config::load(&args.config)?);
    for runner in &config.runners {
        if runner.executor.autoscales() {
            tracing::warn!(runner = runner.name(), executor = %runner.executor,
                "jobs run on this host, as with the executor docker");
        }
    }
    let settings = config.local()?;
    let runners = config.runners.iter();
    let tokens = tokens::of(runners.map(|runner| (runner.name(), &runner.token)), None).await?;
    let loops = Liveness::new();
    let options = LocalOptions {
        tokens,
        buckets: buckets(&config).await,
        liveness: loops.clone(),
        data: data(args)?,
        helper_binary: this_binary()?,
    };
    let shutdown = signals::shutdown_token()?;
    let notifier = systemd::Notifier::from_env();
    notifier.ready();
    let ran = tokio::select! {
        ran = onspot_runner::run_local(&settings, options, shutdown.clone()) => ran,
        never = notifier.keep_alive(&loops) => match never {},
    };
    notifier.stopping();
    ran.map_err(Failure::from)
}

/// Clients for the cache buckets of the runners, by the runners' names.
async fn buckets(config: &Config) -> BTreeMap<String, onspot_cache::Connections> {
    let mut buckets = BTreeMap::new();
    for runner in &config.runners {
        let cache = runner.cache.as_ref().filter(|cache| cache.kind.is_some());
        if let Some(s3) = cache.and_then(|cache| cache.s3.as_ref()) {
            let connections = onspot_stack::cache_connections(s3).await;
            buckets.insert(runner.name().to_owned(), connections);
        }
    }
    buckets
}

/// The config without runners whose executor onspot does not have, so that the others can work.
/// Logs the config's warnings.
pub(super) fn usable(mut config: Config) -> Config {
    logging::configured(config.log_level.as_deref());
    for warning in lint(&config) {
        tracing::warn!(hint = warning.hint, "{warning}");
    }
    let unsupported = |kind: &ExecutorKind| !kind.is_supported();
    if config
        .runners
        .iter()
        .any(|runner| runner.executor.is_supported())
    {
        config
            .runners
            .retain(|runner| !unsupported(&runner.executor));
    }
    config
}

/// This binary, which also runs in the jobs' helper containers.
pub(super) fn this_binary() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::caused("cannot find this binary", error))
}

/// The folder of builds and caches: for root where services have theirs, else below the home
/// folder.
fn data(args: &Run) -> Result<PathBuf, Failure> {
    if let Some(folder) = &args.data {
        return std::path::absolute(folder).map_err(|error| {
            Failure::caused(format!("{} is not a folder", folder.display()), error)
        });
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/onspot"));
    }
    let home = || std::env::home_dir().map(|home| home.join(".local/state"));
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(home);
    match state {
        Some(state) => Ok(state.join("onspot")),
        None => Err(Failure::new("there is no home folder to keep builds in")
            .hint("name a folder: --data DIR")),
    }
}
