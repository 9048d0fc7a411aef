//! How onspot describes itself to GitLab.

use serde::{Deserialize, Serialize};

use crate::system_id::SystemId;
use crate::token::RunnerToken;

/// This version of onspot.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who requests jobs: a runner on a machine, with its features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerIdentity {
    /// The runner.
    pub token: RunnerToken,
    /// The machine.
    pub system_id: SystemId,
    /// The runner's description.
    pub info: Info,
}

impl RunnerIdentity {
    /// The identity of a runner on this host.
    pub fn new(token: RunnerToken, system_id: SystemId, info: Info) -> Self {
        Self {
            token,
            system_id,
            info,
        }
    }
}

/// A runner's description. GitLab displays it, and drops jobs that need a feature missing in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The operating system, in Go's terms (`linux`).
    pub platform: String,
    /// The processor architecture, in Go's terms (`amd64`, `arm64`).
    pub architecture: String,
    /// The executor: `docker`, `shell`, `docker+machine`, …
    pub executor: String,
    /// The shell that runs the scripts.
    pub shell: String,
    /// The supported features.
    pub features: Features,
}

impl Info {
    /// onspot's description with this executor.
    pub fn new(executor: impl Into<String>, features: Features) -> Self {
        Self {
            name: "onspot".to_owned(),
            version: VERSION.to_owned(),
            revision: String::new(),
            platform: std::env::consts::OS.to_owned(),
            architecture: go_architecture(std::env::consts::ARCH).to_owned(),
            executor: executor.into(),
            shell: "bash".to_owned(),
            features,
        }
    }

    /// The description of a runner with the `docker` executor.
    pub fn docker() -> Self {
        Self::new("docker", Features::docker())
    }

    /// The description of a runner with the `shell` executor.
    pub fn shell() -> Self {
        Self::new("shell", Features::shell())
    }
}

/// The processor architecture of this host, in Go's terms (`amd64`, `arm64`).
pub fn architecture() -> &'static str {
    go_architecture(std::env::consts::ARCH)
}

fn go_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// A runner's features, under GitLab's names (`FeaturesInfo` in `common/network.go` of GitLab
/// Runner). Features of GitLab Runner that are missing here are not supported: terminals, sessions,
/// proxies, vault secrets, native steps, job inputs, the two-phase commit of jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// Sets the job's variables.
    pub variables: bool,
    /// Runs the job in an image.
    pub image: bool,
    /// Supports platform and user of `image:docker`.
    pub image_executor_opts: bool,
    /// Runs services.
    pub services: bool,
    /// Supports platform and user of a service.
    pub service_executor_opts: bool,
    /// Passes a service's `variables` to it.
    pub service_variables: bool,
    /// Supports several aliases of a service.
    pub service_multiple_aliases: bool,
    /// Uploads and downloads artifacts.
    pub artifacts: bool,
    /// Supports `artifacts:exclude`.
    pub artifacts_exclude: bool,
    /// Uploads more than one archive per job, such as reports.
    pub upload_multiple_artifacts: bool,
    /// Uploads artifacts in the formats `gzip` and `raw`.
    pub upload_raw_artifacts: bool,
    /// Supports caches.
    pub cache: bool,
    /// Supports fallback keys of caches.
    pub fallback_cache_keys: bool,
    /// All jobs share the host's file system.
    pub shared: bool,
    /// Fetches the refspecs given by GitLab.
    pub refspecs: bool,
    /// Hides masked variables in the trace.
    pub masking: bool,
    /// Leaves raw variables as they are.
    pub raw_variables: bool,
    /// Runs further steps besides `script` and `after_script`, such as `release`.
    pub multi_build_steps: bool,
    /// Can send the whole trace again from its start.
    pub trace_reset: bool,
    /// Sends the trace's checksum with the result.
    pub trace_checksum: bool,
    /// Sends the trace's size with the result.
    pub trace_size: bool,
    /// Stops canceled jobs.
    pub cancelable: bool,
    /// Runs `after_script` of canceled jobs.
    pub cancel_gracefully: bool,
    /// Sends the script's exit code with the result.
    pub return_exit_code: bool,
}

impl Features {
    /// The features of every executor.
    const COMMON: Self = Self {
        variables: true,
        image: false,
        image_executor_opts: false,
        services: false,
        service_executor_opts: false,
        service_variables: false,
        service_multiple_aliases: false,
        artifacts: true,
        artifacts_exclude: true,
        upload_multiple_artifacts: true,
        upload_raw_artifacts: true,
        cache: true,
        fallback_cache_keys: true,
        shared: false,
        refspecs: true,
        masking: true,
        raw_variables: true,
        multi_build_steps: true,
        // A worker that continues another one's trace does not have its beginning.
        trace_reset: false,
        trace_checksum: true,
        trace_size: true,
        cancelable: true,
        cancel_gracefully: true,
        return_exit_code: true,
    };

    /// The features with the `docker` executor.
    pub const fn docker() -> Self {
        Self {
            image: true,
            image_executor_opts: true,
            services: true,
            service_executor_opts: true,
            service_variables: true,
            service_multiple_aliases: true,
            ..Self::COMMON
        }
    }

    /// The features with the `shell` executor.
    pub const fn shell() -> Self {
        Self {
            shared: true,
            ..Self::COMMON
        }
    }
}
