//! From configuration to loops: what both verbs on instances and `onspot run` share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use onspot_executor::{ExecutorError, RunnerSettings};
use onspot_fleet::{FleetSpec, Lifecycle, Policy};
use onspot_gitlab::{Client, ClientOptions};
use onspot_runnerconf::{ExecutorKind, Runner};

use crate::settings::{Timing, WorkerPool};
use crate::worker::WorkerError;

mod docker;

pub(crate) use docker::docker_settings;

/// GitLab Runner's default of `check_interval`.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// Why a verb can't begin, or can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// There is nothing to run.
    #[error("the configuration holds no [[runners]]")]
    NoRunners,
    /// A runner's executor is one that onspot does not have.
    #[error("runner {runner} has the executor {executor}, which onspot does not have")]
    Executor {
        /// The runner.
        runner: String,
        /// Its executor.
        executor: String,
    },
    /// A runner has no token.
    #[error("there is no token for runner {runner}")]
    Token {
        /// The runner.
        runner: String,
    },
    /// A runner has nowhere to get workers from.
    #[error("there is no pool of workers for runner {runner}")]
    Pool {
        /// The runner.
        runner: String,
    },
    /// The certificate authorities could not be read.
    #[error("cannot read the certificates in {path}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The connection to GitLab can't be set up.
    #[error("runner {runner} can't talk to GitLab")]
    GitLab {
        /// The runner.
        runner: String,
        /// Why.
        #[source]
        source: onspot_gitlab::Error,
    },
    /// Jobs can't be run on this host.
    #[error("jobs can't be run on this host")]
    Host(#[source] ExecutorError),
    /// The worker's part of `config.toml` can't be read.
    #[error("the worker's configuration can't be read")]
    Config(#[source] Box<onspot_runnerconf::ConfigError>),
    /// The worker's loop ended.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl SetupError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRunners => Some("add a [[runners]] section with name, url and token".into()),
            Self::Executor { .. } => {
                Some("use docker, shell, docker+machine or docker-autoscaler".into())
            }
            Self::Token { .. } => Some("set its token (glrt-…), or a reference to it".into()),
            Self::Pool { .. } => Some("run `onspot up`, which writes manager.toml anew".into()),
            Self::Certificates { .. } => Some("check tls-ca-file".into()),
            Self::GitLab { source, .. } => source.hint(),
            Self::Host(source) => source.hint(),
            Self::Config(_) => Some("run `onspot up`, which writes worker.toml anew".into()),
            Self::Worker(source) => source.hint(),
        }
    }
}

/// The connection of a runner to its GitLab.
pub(crate) fn client_of(runner: &Runner) -> Result<Client, SetupError> {
    client_on(runner, None)
}

/// The same, from a machine whose name GitLab's logs are to show.
pub(crate) fn client_on(runner: &Runner, machine: Option<&str>) -> Result<Client, SetupError> {
    let ca_pem = runner.tls_ca_file.as_deref().map(read_pem).transpose()?;
    let options = ClientOptions {
        ca_pem,
        machine: machine.map(str::to_owned),
        ..ClientOptions::default()
    };
    Client::with_options(&runner.url, options).map_err(|source| SetupError::GitLab {
        runner: runner.name.clone(),
        source,
    })
}

fn read_pem(path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|source| SetupError::Certificates {
        path: path.to_owned(),
        source,
    })
}

/// How many bytes a job's trace may have, if the configuration says so (`output_limit`, in KiB).
pub(crate) fn log_limit(runner: &Runner) -> Option<usize> {
    let kib = usize::try_from(runner.output_limit).unwrap_or(usize::MAX);
    (kib > 0).then(|| kib.saturating_mul(1024))
}

/// How long to wait between two requests for a job (`check_interval`, in seconds).
pub(crate) fn check_interval(seconds: u32) -> Duration {
    if seconds == 0 {
        CHECK_INTERVAL
    } else {
        Duration::from_secs(seconds.into())
    }
}

/// What the executors are told of a runner.
pub(crate) fn runner_settings(
    runner: &Runner,
    short_token: &str,
) -> Result<RunnerSettings, SetupError> {
    let pem = runner.tls_ca_file.as_deref().map(read_pem).transpose()?;
    Ok(RunnerSettings {
        short_token: short_token.to_owned(),
        clone_url: runner.clone_url.clone(),
        environment: runner.environment.clone(),
        pre_get_sources_script: runner.pre_get_sources_script.clone(),
        pre_build_script: runner.pre_build_script.clone(),
        post_build_script: runner.post_build_script.clone(),
        tls_ca_pem: pem.map(|pem| String::from_utf8_lossy(&pem).into_owned()),
        debug_trace_disabled: runner.debug_trace_disabled,
        ..RunnerSettings::new(runner.name.clone(), runner.url.as_str())
    })
}

/// The scaling policy of a runner whose jobs run on instances that come and go.
pub(crate) fn policy_of(
    runner: &Runner,
    pool: &WorkerPool,
    concurrent: u32,
    timing: &Timing,
) -> Policy {
    let slots = pool.slots.max(1);
    let jobs = if runner.limit == 0 {
        concurrent
    } else {
        runner.limit
    };
    let mut policy = Policy {
        limit: jobs.div_ceil(slots),
        capacity_per_instance: slots,
        lifecycle: if pool.spot {
            Lifecycle::Spot
        } else {
            Lifecycle::OnDemand
        },
        boot_limit: timing.boot,
        ..Policy::default()
    };
    if let Some(machine) = &runner.machine {
        policy.idle_count = machine.idle_count;
        policy.idle_count_min = machine.idle_count_min;
        policy.idle_scale_factor = machine.idle_scale_factor;
        policy.idle_time = Duration::from_secs(machine.idle_time.into());
        policy.max_uses = machine.max_builds;
        policy.max_growth = machine.max_growth_rate;
    } else if let Some(autoscaler) = &runner.autoscaler {
        policy.max_uses = autoscaler.max_use_count;
        if autoscaler.max_instances > 0 {
            policy.limit = autoscaler.max_instances;
        }
        // Here idle places are counted in jobs. The last policy wins, as with GitLab Runner.
        if let Some(last) = autoscaler.policy.last() {
            policy.idle_count = last.idle_count.div_ceil(slots);
            policy.idle_time = last.idle_time;
            policy.idle_scale_factor = last.scale_factor;
        }
    }
    policy
}

/// The fleet of a runner's workers, as `onspot_fleet` buys it.
pub fn fleet_spec(stack: &str, runner: &str, pool: &WorkerPool) -> FleetSpec {
    FleetSpec {
        stack: stack.to_owned(),
        runner: runner.to_owned(),
        launch_template: pool.launch_template.clone(),
        subnets: pool.subnets.clone(),
        instance_types: pool.instance_types.clone(),
        spot_max_price: pool.spot_max_price.clone(),
    }
}

/// Refuses executors that onspot does not have.
pub(crate) fn check_executor(runner: &Runner) -> Result<(), SetupError> {
    if let ExecutorKind::Other(executor) = &runner.executor {
        let executor = executor.clone();
        return Err(SetupError::Executor {
            runner: runner.name.clone(),
            executor,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use onspot_runnerconf::Config;

    use super::*;

    fn runner(text: &str) -> Runner {
        let head = "[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\ntoken = 't'\n";
        Config::parse(&format!("{head}{text}"), "config.toml")
            .unwrap()
            .runners
            .remove(0)
    }

    fn pool() -> WorkerPool {
        WorkerPool {
            launch_template: "t".into(),
            subnets: vec![],
            instance_types: vec![],
            spot: true,
            spot_max_price: None,
            role_id: "AROA".into(),
            slots: 2,
        }
    }

    #[test]
    fn the_policy_of_2017_is_read_from_runners_machine() {
        let runner = runner(
            "executor = 'docker+machine'\nlimit = 5\n[runners.machine]\nIdleCount = 1\n\
             IdleTime = 600\nMaxBuilds = 20\nMachineDriver = 'amazonec2'\nMachineName = 'r-%s'\n",
        );
        let policy = policy_of(&runner, &pool(), 10, &Timing::default());
        assert_eq!(
            (policy.limit, policy.idle_count, policy.max_uses),
            (3, 1, 20)
        );
        assert_eq!(policy.idle_time, Duration::from_mins(10));
        assert_eq!(policy.lifecycle, Lifecycle::Spot);
    }
}
