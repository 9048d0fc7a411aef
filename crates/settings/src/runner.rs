//! A runner: the keys of `[[runners]]` in a `config.toml`, without its token and its instances.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use url::Url;

mod docker;

pub use docker::{ContainerService, Docker, Resources};

/// A runner, and what applies to all its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runner {
    /// Its name. It is shown in traces and is part of keys in the ledger.
    pub name: String,
    /// GitLab's base URL.
    pub url: Url,
    /// How many jobs it runs at once; 0 means that only the limit of all runners together counts.
    #[serde(default)]
    pub limit: u32,
    /// How many requests for a job may be open at once; 0 means 1.
    #[serde(default)]
    pub request_concurrency: u32,
    /// The most a job may log, in KiB; 0 means the default of 4096.
    #[serde(default)]
    pub output_limit: u32,
    /// Replaces scheme, host and port of repository URLs.
    #[serde(default)]
    pub clone_url: Option<String>,
    /// Whether jobs may choose their folder with `GIT_CLONE_PATH`. If absent, they may in Docker,
    /// where the folder of builds is their own, and may not in a shell.
    #[serde(default)]
    pub custom_build_dir: Option<bool>,
    /// The most time for preparing a job's containers; the job's own timeout if absent.
    #[serde(default, with = "crate::duration::optional")]
    pub prepare_timeout: Option<Duration>,
    /// The most time for fetching a job's sources; the job's own timeout if absent.
    #[serde(default, with = "crate::duration::optional")]
    pub get_sources_timeout: Option<Duration>,
    /// `NAME=value` lines for every job; the job's own variables replace them.
    #[serde(default)]
    pub environment: Vec<String>,
    /// Where jobs are built, on the host or in the container.
    #[serde(default)]
    pub builds_dir: Option<String>,
    /// Where caches are kept, on the host or in the container.
    #[serde(default)]
    pub cache_dir: Option<String>,
    /// The shell that scripts on the host are run by; bash if absent.
    #[serde(default)]
    pub shell: Option<String>,
    /// Shell lines before the sources are fetched, run by the helper.
    #[serde(default)]
    pub pre_get_sources_script: Option<String>,
    /// Shell lines after the sources are fetched and after the job's own hook, run by the helper.
    #[serde(default)]
    pub post_get_sources_script: Option<String>,
    /// Shell lines before the job's `before_script`.
    #[serde(default)]
    pub pre_build_script: Option<String>,
    /// Shell lines after the job's `script`.
    #[serde(default)]
    pub post_build_script: Option<String>,
    /// A PEM file with the authorities that GitLab's certificate is checked against, besides the
    /// usual ones.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// Whether jobs may not use `CI_DEBUG_TRACE` and `CI_DEBUG_SERVICES`, whose output may contain
    /// secrets.
    #[serde(default)]
    pub debug_trace_disabled: bool,
    /// Whether each slot's containers have a cgroup of their own.
    #[serde(default)]
    pub use_slot_cgroups: bool,
    /// The name of that cgroup, in which `${slot}` is the slot's number;
    /// `gitlab-runner/slot-${slot}` if absent.
    #[serde(default)]
    pub slot_cgroup_template: Option<String>,
    /// GitLab Runner's feature flags by name; they override those that a job sets.
    #[serde(default)]
    pub feature_flags: BTreeMap<String, bool>,
}

impl Runner {
    /// A runner in which everything that has a default is at its default.
    pub fn new(name: impl Into<String>, url: Url) -> Self {
        Self {
            name: name.into(),
            url,
            limit: 0,
            request_concurrency: 0,
            output_limit: 0,
            clone_url: None,
            custom_build_dir: None,
            prepare_timeout: None,
            get_sources_timeout: None,
            environment: Vec::new(),
            builds_dir: None,
            cache_dir: None,
            shell: None,
            pre_get_sources_script: None,
            post_get_sources_script: None,
            pre_build_script: None,
            post_build_script: None,
            tls_ca_file: None,
            debug_trace_disabled: false,
            use_slot_cgroups: false,
            slot_cgroup_template: None,
            feature_flags: BTreeMap::new(),
        }
    }

    /// A runner without a real GitLab, to prepare a host or to list the fields of a runner.
    pub fn without_gitlab(name: impl Into<String>) -> Self {
        #[expect(clippy::expect_used, reason = "the text is a URL")]
        let nowhere = Url::parse("http://localhost").expect("a URL");
        Self::new(name, nowhere)
    }

    /// The value of a variable in [`environment`](Self::environment); the last line counts.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().rev().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then_some(value)
        })
    }

    /// The most bytes of a job's trace, if there is a limit of its own.
    pub fn log_limit(&self) -> Option<usize> {
        let kib = usize::try_from(self.output_limit).unwrap_or(usize::MAX);
        (kib > 0).then(|| kib.saturating_mul(1024))
    }

    /// Writes what differs from [`Runner::new`].
    pub(crate) fn sparse<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let usual = Self::new("", self.url.clone());
        let mut table = differing::<_, S::Error>(self, &usual)?;
        // It has no default.
        table.insert("url".to_owned(), self.url.as_str().into());
        table.serialize(serializer)
    }
}

/// How a runner's jobs run on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobsIn {
    /// In containers.
    Docker,
    /// In a shell of the host.
    Shell,
}

/// The place in S3 for the cache of a runner's jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// The bucket.
    pub bucket: String,
    /// The beginning of all keys, without slashes around it.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Whether runners share it: keys then leave out the runner's short token.
    #[serde(default)]
    pub shared: bool,
    /// The largest archive to upload, in bytes; 0 means no limit.
    #[serde(default)]
    pub upload_limit: u64,
    /// How S3 is asked to encrypt archives; not at all if absent: the bucket's default applies.
    #[serde(default)]
    pub encryption: Option<Encryption>,
    /// The KMS key's id, ARN or alias; AWS's own key if absent.
    #[serde(default)]
    pub encryption_key: Option<String>,
}

/// How S3 encrypts an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// With S3's own key.
    S3,
    /// With a KMS key.
    Kms,
    /// Twice, with a KMS key.
    DsseKms,
}

impl Encryption {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::S3, Self::Kms, Self::DsseKms];

    /// The name in GitLab Runner's `config.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "S3",
            Self::Kms => "KMS",
            Self::DsseKms => "DSSE-KMS",
        }
    }

    /// Reads the names of GitLab Runner's `config.toml` and those of S3, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_uppercase().as_str() {
            "S3" | "AES256" => Self::S3,
            "KMS" | "AWS:KMS" => Self::Kms,
            "DSSE-KMS" | "AWS:KMS:DSSE" => Self::DsseKms,
            _ => return None,
        })
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// Before every job.
    Always,
    /// When the host does not have it.
    IfNotPresent,
    /// Never: the host has it or the job fails.
    Never,
}

impl PullPolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Always, Self::IfNotPresent, Self::Never];

    /// Reads GitLab's spelling: `always`, `if-not-present`, `never`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
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

impl fmt::Display for PullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The entries of `value` that differ from those of `usual`.
pub(crate) fn differing<T: Serialize, E: serde::ser::Error>(
    value: &T,
    usual: &T,
) -> Result<toml::Table, E> {
    let table = |value: &T| toml::Table::try_from(value).map_err(E::custom);
    let (mut written, usual) = (table(value)?, table(usual)?);
    written.retain(|key, value| usual.get(key) != Some(value));
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_variable_counts() {
        let mut runner = Runner::new("r", "https://gitlab.example".parse().unwrap());
        runner.environment = ["A=b", "C=1", "C=x=y"].map(str::to_owned).to_vec();
        assert_eq!(runner.variable("C"), Some("x=y"));
        assert_eq!(runner.variable("D"), None);
    }

    #[test]
    fn a_log_limit_is_in_kib() {
        let mut runner = Runner::new("r", "https://gitlab.example".parse().unwrap());
        assert_eq!(runner.log_limit(), None);
        runner.output_limit = 2;
        assert_eq!(runner.log_limit(), Some(2048));
    }
}
