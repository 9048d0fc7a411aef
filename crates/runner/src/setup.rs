//! Sets up the loops from the configuration, for the verbs on instances and for `onspot run`.

use std::path::{Path, PathBuf};

use onspot_executor::{DockerSettings, Error as ExecutorError, RunnerSettings};
use onspot_gitlab::{Client, ClientOptions};
use onspot_settings::{Docker, Runner};

use crate::worker::WorkerError;

/// Why a verb can't begin, or can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// There is nothing to run.
    #[error("the configuration holds no [[runners]]")]
    NoRunners,
    /// Two runners' names give the same folder name.
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
    /// A runner has no source of workers.
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
    /// The worker's loop ended.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl SetupError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRunners => Some("add a [[runners]] section with name, url and token".into()),
            Self::OneFolder { .. } => {
                Some("rename one: letters, digits and dots tell them apart".into())
            }
            Self::Token { .. } => Some("set its token (glrt-…), or a reference to it".into()),
            Self::Pool { .. } => Some("run `onspot up`, which writes manager.toml anew".into()),
            Self::Certificates { .. } => Some("check tls-ca-file".into()),
            Self::GitLab { source, .. } => source.hint(),
            Self::Host(source) => source.hint(),
            Self::Worker(source) => source.hint(),
        }
    }
}

/// The connection of a runner to its GitLab.
pub(crate) fn client_of(runner: &Runner) -> Result<Client, SetupError> {
    client_on(runner, None)
}

/// The same, with a machine name for GitLab's logs.
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

/// A runner's settings for the executors.
pub(crate) fn runner_settings(
    runner: &Runner,
    short_token: &str,
) -> Result<RunnerSettings, SetupError> {
    let pem = runner.tls_ca_file.as_deref().map(read_pem).transpose()?;
    Ok(RunnerSettings {
        runner: runner.clone(),
        short_token: short_token.to_owned(),
        tls_ca_pem: pem.map(|pem| String::from_utf8_lossy(&pem).into_owned()),
    })
}

/// How a runner's jobs run in Docker on this host.
pub(crate) fn docker_settings(
    runner: &Runner,
    docker: &Docker,
    short_token: &str,
    helper_binary: PathBuf,
) -> Result<DockerSettings, SetupError> {
    let runner = runner_settings(runner, short_token)?;
    Ok(DockerSettings::new(runner, docker.clone(), helper_binary))
}
