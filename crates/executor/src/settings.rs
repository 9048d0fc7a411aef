//! What an executor is told once, for all jobs of a runner.

use std::path::PathBuf;
use std::time::Duration;

mod docker;

pub use docker::{ContainerService, DockerSettings, Resources};

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
    /// Shell lines after the sources are fetched and after the job's own hook
    /// (`post_get_sources_script`), run by the helper.
    pub post_get_sources_script: Option<String>,
    /// Shell lines before the job's `before_script` (`pre_build_script`).
    pub pre_build_script: Option<String>,
    /// Shell lines after the job's `script` (`post_build_script`).
    pub post_build_script: Option<String>,
    /// A PEM file with the certificate authorities that GitLab's certificate is checked against,
    /// besides the usual ones.
    pub tls_ca_pem: Option<String>,
    /// How long `after_script` may take.
    pub after_script_timeout: Duration,
    /// Jobs get no `CI_DEBUG_TRACE` and no `CI_DEBUG_SERVICES`: what they print may be secret.
    pub debug_trace_disabled: bool,
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
            post_get_sources_script: None,
            pre_build_script: None,
            post_build_script: None,
            tls_ca_pem: None,
            after_script_timeout: Duration::from_mins(5),
            debug_trace_disabled: false,
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
