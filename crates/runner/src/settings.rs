//! What a manager and a worker are told at boot: `/etc/onspot/manager.toml` and
//! `/etc/onspot/worker.toml`, written by the instance's user-data.
//!
//! Both are rendered by `onspot up` and read by this very binary, so unknown keys are errors: a
//! key that is not understood means that the two sides are of different versions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use onspot_reconcile::Tags;
use serde::{Deserialize, Serialize};

mod timing;

pub use timing::{Timing, TimingError};

/// Where a worker's agent notes until when its lease runs, and where the watchdog reads it.
pub const DEFAULT_LEASE_FILE: &str = "/run/onspot/lease";

/// Why a settings file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what this version expects.
    #[error("{path} is not a settings file of this version")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key's value is out of its range.
    #[error("{path} has timings that do not fit together")]
    Timing {
        /// The file.
        path: PathBuf,
        /// Which ones.
        #[source]
        source: TimingError,
    },
}

/// What a manager needs to know beside its `config.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagerSettings {
    /// The stack's name, the value of the tag `onspot:stack`.
    pub stack: String,
    /// The AWS region everything is in.
    pub region: String,
    /// An AWS look-alike's endpoint; absent on AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// The stack's bucket: `run/`, `cache/` and `bin/` are in it.
    pub bucket: String,
    /// The stack's CloudWatch log group.
    pub log_group: String,
    /// The port at which workers reach the cache of images on this instance; absent where there
    /// is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_port: Option<u16>,
    /// How fast things are noticed.
    #[serde(default)]
    pub timing: Timing,
    /// Further tags of all that is bought: the stack's owner's, with the note of them.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// The workers of each `[[runners]]`, by the runner's name.
    pub runners: BTreeMap<String, WorkerPool>,
}

/// How the workers of one `[[runners]]` are bought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerPool {
    /// The name of the launch template for instances on demand; that for spot has it in its own.
    pub launch_template: String,
    /// The subnets workers may be in, at most one an availability zone for a fleet request.
    pub subnets: Vec<String>,
    /// The instance types that may be bought, the preferred ones first.
    pub instance_types: Vec<String>,
    /// Whether first attempts run on spot instances.
    pub spot: bool,
    /// The most to pay for a spot instance in dollars an hour; the on-demand price if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_max_price: Option<String>,
    /// The unique id of the workers' role (`AROA…`), the first half of their `aws:userid`.
    pub role_id: String,
    /// How many jobs a worker runs at once, at least 1.
    #[serde(default = "one")]
    pub slots: u32,
}

/// What a worker needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// The stack's name, the value of the tag `onspot:stack`.
    pub stack: String,
    /// The name of the `[[runners]]` this worker serves.
    pub runner: String,
    /// The AWS region everything is in.
    pub region: String,
    /// An AWS look-alike's endpoint; absent on AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// The stack's bucket.
    pub bucket: String,
    /// The stack's CloudWatch log group.
    pub log_group: String,
    /// The unique id of this worker's role (`AROA…`), the first half of its `aws:userid`.
    pub role_id: String,
    /// How many jobs it runs at once, at least 1.
    #[serde(default = "one")]
    pub slots: u32,
    /// After how many jobs it takes no more; 0 means never.
    #[serde(default)]
    pub max_builds: u32,
    /// Where in the bucket the jobs' cache is.
    #[serde(default = "cache_prefix")]
    pub cache_prefix: String,
    /// Where the agent notes its lease for the watchdog.
    #[serde(default = "lease_file")]
    pub lease_file: PathBuf,
    /// The port at which this worker's engine finds the leader's cache of images, on the loopback
    /// interface; absent where the stack has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_port: Option<u16>,
    /// A `config.toml` that holds this one `[[runners]]` section, without its token: how jobs
    /// are run (URL, image, volumes, cache and so on).
    pub config: String,
    /// How fast things are noticed.
    #[serde(default)]
    pub timing: Timing,
}

impl ManagerSettings {
    /// Reads and checks `/etc/onspot/manager.toml`.
    pub fn load(path: &std::path::Path) -> Result<Self, SettingsError> {
        let settings: Self = read(path)?;
        check(path, &settings.timing)?;
        Ok(settings)
    }
}

impl WorkerSettings {
    /// Reads and checks `/etc/onspot/worker.toml`.
    pub fn load(path: &std::path::Path) -> Result<Self, SettingsError> {
        let settings: Self = read(path)?;
        check(path, &settings.timing)?;
        Ok(settings)
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<T, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| SettingsError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn check(path: &std::path::Path, timing: &Timing) -> Result<(), SettingsError> {
    timing.check().map_err(|source| SettingsError::Timing {
        path: path.to_owned(),
        source,
    })
}

fn one() -> u32 {
    1
}

fn cache_prefix() -> String {
    "cache".to_owned()
}

fn lease_file() -> PathBuf {
    PathBuf::from(DEFAULT_LEASE_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_settings_survive_a_round_trip_with_a_nested_config() {
        let settings = WorkerSettings {
            stack: "ci".into(),
            runner: "docker.m3".into(),
            region: "eu-west-1".into(),
            endpoint_url: None,
            bucket: "ci-1".into(),
            log_group: "ci".into(),
            role_id: "AROAEXAMPLE".into(),
            slots: 2,
            max_builds: 0,
            cache_prefix: "cache".into(),
            lease_file: DEFAULT_LEASE_FILE.into(),
            registry_port: Some(15_850),
            config: "[[runners]]\nname = \"docker.m3\"\n".into(),
            timing: Timing::default(),
        };
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<WorkerSettings>(&text).unwrap(), settings);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = toml::from_str::<ManagerSettings>("stack = 'x'\nregoin = 'y'").unwrap_err();
        assert!(error.to_string().contains("regoin"), "{error}");
    }
}
