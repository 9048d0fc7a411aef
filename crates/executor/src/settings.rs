//! What an executor is told once, for all jobs of a runner.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What both executors need to know about their runner.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// The runner's name (`[[runners]] name`), shown in the trace.
    pub name: String,
    /// The runner token's public beginning (`RunnerToken::short`); becomes
    /// `CI_RUNNER_SHORT_TOKEN`.
    pub short_token: String,
    /// GitLab's base URL, for `CI_SERVER_URL` when the payload has none.
    pub url: String,
    /// Replaces scheme, host and port of the repository's URL (`clone_url`).
    pub clone_url: Option<String>,
    /// `NAME=value` lines that every job gets, below its own variables.
    pub environment: Vec<String>,
    /// Shell lines before the sources are fetched (`pre_get_sources_script`), run by the helper.
    pub pre_get_sources_script: Option<String>,
    /// Shell lines before the job's `before_script` (`pre_build_script`).
    pub pre_build_script: Option<String>,
    /// Shell lines after the job's `script` (`post_build_script`).
    pub post_build_script: Option<String>,
    /// A PEM file with the certificate authorities that GitLab's certificate is checked against,
    /// besides the usual ones.
    pub tls_ca_pem: Option<String>,
    /// How long `after_script` may take.
    pub after_script_timeout: Duration,
}

impl RunnerSettings {
    /// Settings with nothing set but the runner's name and GitLab's URL.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            short_token: String::new(),
            url: url.into(),
            clone_url: None,
            environment: Vec::new(),
            pre_get_sources_script: None,
            pre_build_script: None,
            post_build_script: None,
            tls_ca_pem: None,
            after_script_timeout: Duration::from_mins(5),
        }
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PullPolicy {
    /// Before every job.
    Always,
    /// When the host does not have it.
    IfNotPresent,
    /// Never: the host has it or the job fails.
    Never,
}

impl PullPolicy {
    /// Reads GitLab's spelling: `always`, `if-not-present`, `never`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "always" => Some(Self::Always),
            "if-not-present" => Some(Self::IfNotPresent),
            "never" => Some(Self::Never),
            _ => None,
        }
    }

    /// GitLab's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::IfNotPresent => "if-not-present",
            Self::Never => "never",
        }
    }
}

/// How jobs run in Docker on this host.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// What every executor knows.
    pub runner: RunnerSettings,
    /// The Docker engine (`unix:///run/user/1000/docker.sock`); the usual one if absent.
    pub host: Option<String>,
    /// The image of jobs that name none.
    pub image: Option<String>,
    /// Tried in this order until one gives the image. Never empty.
    pub pull_policy: Vec<PullPolicy>,
    /// What a job's own `pull_policy` may be; empty means: what `pull_policy` holds.
    pub allowed_pull_policies: Vec<PullPolicy>,
    /// Patterns (`registry.example.com/team/*`) of the images jobs may name; empty means all.
    pub allowed_images: Vec<String>,
    /// The same for services.
    pub allowed_services: Vec<String>,
    /// Give job containers the host's full authority. A job then owns its worker.
    pub privileged: bool,
    /// Further mounts of job containers, `source:target[:mode]`, and bare paths, which become
    /// volumes that the job and its services share for as long as the job runs.
    pub volumes: Vec<String>,
    /// Size of `/dev/shm` in bytes; 0 means Docker's default.
    pub shm_size: u64,
    /// `bridge` (the default), `host`, `none` or a network's name.
    pub network_mode: Option<String>,
    /// `name:address` lines for `/etc/hosts` of job, service and helper containers.
    pub extra_hosts: Vec<String>,
    /// DNS servers.
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// Limit of memory (`512m`), if any.
    pub memory: Option<String>,
    /// Limit of processors (`1.5`), if any.
    pub cpus: Option<String>,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Docker `--security-opt` values.
    pub security_opt: Vec<String>,
    /// The user that job containers run as instead of the image's.
    pub user: Option<String>,
    /// The helper's image; built here when it is missing.
    pub helper_image: String,
    /// The `onspot` binary to run in the helper: this process's own, usually.
    pub helper_binary: PathBuf,
    /// Where slots have their build folders, on the Docker engine's host.
    pub builds_root: PathBuf,
    /// Labels of every container, beside the executor's own.
    pub labels: BTreeMap<String, String>,
    /// `DOCKER_AUTH_CONFIG` of the runner: registries' credentials as in `~/.docker/config.json`.
    pub docker_auth_config: Option<String>,
    /// How long services get to open their ports.
    pub wait_for_services: Duration,
}

impl DockerSettings {
    /// GitLab Runner's defaults: pull always, unprivileged, default bridge.
    pub fn new(runner: RunnerSettings, helper_binary: PathBuf) -> Self {
        Self {
            runner,
            host: None,
            image: None,
            pull_policy: vec![PullPolicy::Always],
            allowed_pull_policies: Vec::new(),
            allowed_images: Vec::new(),
            allowed_services: Vec::new(),
            privileged: false,
            volumes: Vec::new(),
            shm_size: 0,
            network_mode: None,
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            memory: None,
            cpus: None,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            security_opt: Vec::new(),
            user: None,
            helper_image: crate::HELPER_IMAGE.to_owned(),
            helper_binary,
            builds_root: PathBuf::from("/var/lib/onspot/builds"),
            labels: BTreeMap::new(),
            docker_auth_config: None,
            wait_for_services: Duration::from_secs(30),
        }
    }
}

/// How jobs run in a shell on this host.
#[derive(Debug, Clone)]
pub struct ShellSettings {
    /// What every executor knows.
    pub runner: RunnerSettings,
    /// The shell: `bash` where nothing else is set.
    pub shell: String,
    /// The `onspot` binary to run as the helper: this process's own, usually.
    pub helper_binary: PathBuf,
    /// Where slots have their build folders: an absolute path.
    pub builds_root: PathBuf,
}

impl ShellSettings {
    /// bash, and build folders below `builds_root`.
    pub fn new(runner: RunnerSettings, helper_binary: PathBuf, builds_root: PathBuf) -> Self {
        Self {
            runner,
            shell: "bash".into(),
            helper_binary,
            builds_root,
        }
    }
}

/// A runner's name as that of a folder.
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
