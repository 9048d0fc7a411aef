//! Settings of an executor for all jobs of a runner: the runner's, and those of this host.

use std::path::PathBuf;
use std::time::Duration;

use onspot_settings::{Docker, Runner};

/// Default time limit of `after_script`, as in GitLab Runner.
pub(crate) const AFTER_SCRIPT_TIMEOUT: Duration = Duration::from_mins(5);

/// Settings of the runner for both executors.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// The settings for all its jobs.
    pub runner: Runner,
    /// The public beginning of the runner's token (`RunnerToken::short`); becomes
    /// `CI_RUNNER_SHORT_TOKEN`.
    pub short_token: String,
    /// The content of [`Runner::tls_ca_file`].
    pub tls_ca_pem: Option<String>,
}

impl RunnerSettings {
    /// Without a short token, and with the system's certificates only.
    pub fn new(runner: Runner) -> Self {
        Self {
            runner,
            short_token: String::new(),
            tls_ca_pem: None,
        }
    }
}

/// How jobs run in Docker on this host.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// What every executor knows.
    pub common: RunnerSettings,
    /// The settings for the containers of jobs.
    pub docker: Docker,
    /// The number of slots that share this host's memory if `docker.job.memory` is not set; if
    /// absent, there is no limit then.
    pub memory_shared_by: Option<usize>,
    /// The name of the helper's embedded image on this host; built here if it is missing.
    pub embedded_helper: String,
    /// The `onspot` binary to run in the helper: this process's own, usually.
    pub helper_binary: PathBuf,
    /// Where slots have their build folders, on the Docker engine's host.
    pub builds_root: PathBuf,
    /// Docker's `config.json` with the logins of this host for registries, which need not exist.
    pub docker_config: Option<PathBuf>,
    /// The file that says who pulled which private image, for all runners of this host.
    pub private_images: PathBuf,
}

impl DockerSettings {
    /// The default paths on this host.
    pub fn new(common: RunnerSettings, docker: Docker, helper_binary: PathBuf) -> Self {
        Self {
            common,
            docker,
            memory_shared_by: None,
            embedded_helper: crate::HELPER_IMAGE.to_owned(),
            helper_binary,
            builds_root: PathBuf::from("/var/lib/onspot/builds"),
            private_images: PathBuf::from("/var/lib/onspot/private-images.json"),
            docker_config: docker_config(),
        }
    }

    /// `DOCKER_AUTH_CONFIG` of the runner: registries' credentials as in `~/.docker/config.json`.
    pub(crate) fn docker_auth_config(&self) -> Option<&str> {
        self.common.runner.variable("DOCKER_AUTH_CONFIG")
    }
}

/// Where Docker's own programs look for logins.
fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let of_user = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
    Some(folder.or_else(of_user)?.join("config.json"))
}

/// How jobs run in a shell on this host.
#[derive(Debug, Clone)]
pub struct ShellSettings {
    /// The settings of every executor.
    pub common: RunnerSettings,
    /// The `onspot` binary to run as the helper, usually this process's own.
    pub helper_binary: PathBuf,
    /// The parent of the slots' build folders: an absolute path.
    pub builds_root: PathBuf,
}

impl ShellSettings {
    /// The runner's shell, by default bash.
    pub(crate) fn shell(&self) -> &str {
        self.common.runner.shell.as_deref().unwrap_or("bash")
    }
}

/// A runner's name as a folder name.
pub(crate) fn folder_name(runner: &str) -> String {
    runner
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}
