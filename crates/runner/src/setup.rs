//! From configuration to loops: what both verbs on instances and `onspot run` share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use onspot_executor::{ExecutorError, RunnerSettings};
use onspot_fleet::FleetSpec;
use onspot_gitlab::{Client, ClientOptions};
use onspot_runnerconf::{ExecutorKind, Runner};

mod docker;
mod scaling;

pub(crate) use docker::docker_settings;
pub(crate) use scaling::{policy_of, strange_options};

use crate::settings::{ManagerSettings, WorkerPool};
use crate::worker::WorkerError;

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
    /// Two runners' names make one folder's name.
    #[error("the runners {one} and {other} would have one folder")]
    OneFolder {
        /// The first.
        one: String,
        /// The second.
        other: String,
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
            Self::OneFolder { .. } => {
                Some("rename one: letters, digits and dots tell them apart".into())
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
    // No `..`: a key that nobody uses is to be noticed here.
    let Runner {
        name,
        url,
        clone_url,
        environment,
        pre_get_sources_script,
        post_get_sources_script,
        pre_build_script,
        post_build_script,
        tls_ca_file,
        debug_trace_disabled,
        // What has the token: `RunnerIdentity`.
        token: _,
        // Which loops there are, and how many jobs they take: `run_local`, `run_manager`.
        executor: _,
        limit: _,
        request_concurrency: _,
        // `log_limit`.
        output_limit: _,
        // Where this host keeps things: `run_local`.
        builds_dir: _,
        cache_dir: _,
        shell: _,
        cache: _,
        // `docker_settings` and `policy_of`.
        use_slot_cgroups: _,
        slot_cgroup_template: _,
        docker: _,
        machine: _,
        autoscaler: _,
        // Named in a warning by `onspot_runnerconf::lint`.
        other: _,
    } = runner.clone();
    let pem = tls_ca_file.as_deref().map(read_pem).transpose()?;
    Ok(RunnerSettings {
        short_token: short_token.to_owned(),
        clone_url,
        environment,
        pre_get_sources_script,
        post_get_sources_script,
        pre_build_script,
        post_build_script,
        tls_ca_pem: pem.map(|pem| String::from_utf8_lossy(&pem).into_owned()),
        debug_trace_disabled,
        ..RunnerSettings::new(name, url.as_str())
    })
}

/// The fleet of a runner's workers, as `onspot_fleet` buys it.
pub fn fleet_spec(manager: &ManagerSettings, runner: &str, pool: &WorkerPool) -> FleetSpec {
    FleetSpec {
        stack: manager.stack.clone(),
        runner: runner.to_owned(),
        tags: manager.tags.clone(),
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

    #[test]
    fn what_the_runner_does_after_the_sources_is_passed_on() {
        let runner = runner(
            "executor = 'docker'\npre_get_sources_script = 'a'\npost_get_sources_script = 'b'\n",
        );
        let settings = runner_settings(&runner, "abc").unwrap();
        assert_eq!(settings.pre_get_sources_script.as_deref(), Some("a"));
        assert_eq!(settings.post_get_sources_script.as_deref(), Some("b"));
    }
}
