//! The settings of a manager and a worker, `/etc/onspot/manager.toml` and
//! `/etc/onspot/worker.toml`, written by the instance's user-data; and those of `onspot run`.
//!
//! `onspot up` renders both files and this same binary reads them, so unknown keys are errors: an
//! unknown key means that the two sides have different versions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Cache, Docker, JobsIn, Policy, Runner, Timing, TimingError, TokenRef};

/// The file in which a worker's agent records the end of its lease for the watchdog.
pub const DEFAULT_LEASE_FILE: &str = "/run/onspot/lease";

/// The default wait between two requests for a job, as in GitLab Runner.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);

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
    /// The timings do not fit together.
    #[error("{path} has timings that do not fit together")]
    Timing {
        /// The file.
        path: PathBuf,
        /// Which ones.
        #[source]
        source: TimingError,
    },
}

/// The settings of a manager.
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
    /// Where metrics are served, `/metrics`; nowhere if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_address: Option<SocketAddr>,
    /// How many jobs run at once over all runners, at least 1.
    pub concurrent: u32,
    /// The wait between two requests for a job.
    #[serde(default = "check_interval", with = "crate::duration")]
    pub check_interval: Duration,
    /// How fast things are noticed.
    #[serde(default)]
    pub timing: Timing,
    /// The stack owner's tags for everything that is launched, with the tag that lists them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The runners.
    pub runners: Vec<ManagedRunner>,
}

/// One `[[runners]]` of a manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedRunner {
    /// Where its token is stored.
    pub token: TokenRef,
    /// Its name, its GitLab and its limits. Only its workers are told how its jobs run.
    #[serde(serialize_with = "Runner::sparse")]
    pub runner: Runner,
    /// How many workers it has.
    pub policy: Policy,
    /// Where its workers are bought.
    pub pool: WorkerPool,
}

/// Where the workers of a runner are bought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerPool {
    /// The name of the launch template for on-demand instances; the name of the spot template is
    /// derived from it.
    pub launch_template: String,
    /// The subnets workers may be in; a fleet request accepts at most one per availability zone.
    pub subnets: Vec<String>,
    /// The instance types that may be bought, the preferred ones first.
    pub instance_types: Vec<String>,
    /// The most to pay for a spot instance, in dollars per hour; the on-demand price if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot_max_price: Option<String>,
    /// The unique id of the workers' role (`AROA…`), the first half of their `aws:userid`.
    pub role_id: String,
}

/// The settings of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// The stack's name, the value of the tag `onspot:stack`.
    pub stack: String,
    /// The AWS region everything is in.
    pub region: String,
    /// An AWS look-alike's endpoint; absent on AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// The stack's bucket: the ledger is in it.
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
    /// Where the agent notes its lease for the watchdog.
    #[serde(default = "lease_file")]
    pub lease_file: PathBuf,
    /// The port at which this worker's engine finds the leader's cache of images, on the loopback
    /// interface; absent where the stack has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_port: Option<u16>,
    /// How fast things are noticed.
    #[serde(default)]
    pub timing: Timing,
    /// Its runner, without the token.
    #[serde(serialize_with = "Runner::sparse")]
    pub runner: Runner,
    /// How jobs run in Docker.
    #[serde(default, serialize_with = "Docker::sparse")]
    pub docker: Docker,
    /// The cache of jobs; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
}

/// The settings of `onspot run`.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalSettings {
    /// How many jobs run at once over all runners, at least 1.
    pub concurrent: u32,
    /// The wait between two requests for a job.
    pub check_interval: Duration,
    /// Where metrics are served, `/metrics`; nowhere if absent.
    pub listen_address: Option<SocketAddr>,
    /// The runners.
    pub runners: Vec<LocalRunner>,
}

/// One runner of this host.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalRunner {
    /// The runner.
    pub runner: Runner,
    /// How its jobs run.
    pub jobs: JobsIn,
    /// How jobs run in Docker.
    pub docker: Docker,
    /// The cache of jobs; in a folder of this host if absent.
    pub cache: Option<Cache>,
}

impl ManagerSettings {
    /// The wait between two requests for a job, from a `check_interval` in seconds; 0 means the
    /// default.
    pub fn check_interval(seconds: u32) -> Duration {
        match seconds {
            0 => CHECK_INTERVAL,
            seconds => Duration::from_secs(seconds.into()),
        }
    }

    /// Reads and checks `/etc/onspot/manager.toml`.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if the file can't be read, is not of this version, or has timings that do
    /// not fit together.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let settings: Self = read(path)?;
        check(path, &settings.timing)?;
        Ok(settings)
    }
}

impl WorkerSettings {
    /// Reads and checks `/etc/onspot/worker.toml`.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if the file can't be read, is not of this version, or has timings that do
    /// not fit together.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let settings: Self = read(path)?;
        check(path, &settings.timing)?;
        Ok(settings)
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| SettingsError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn check(path: &Path, timing: &Timing) -> Result<(), SettingsError> {
    timing.check().map_err(|source| SettingsError::Timing {
        path: path.to_owned(),
        source,
    })
}

fn check_interval() -> Duration {
    CHECK_INTERVAL
}

fn one() -> u32 {
    1
}

fn lease_file() -> PathBuf {
    PathBuf::from(DEFAULT_LEASE_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_settings_survive_a_round_trip_and_say_only_what_is_not_usual() {
        let mut runner = Runner::new("docker.m3", "https://gitlab.example".parse().unwrap());
        runner.environment = vec!["A=b".to_owned()];
        let docker = Docker {
            image: Some("alpine:latest".into()),
            wait_for_services: Some(Duration::ZERO),
            ..Docker::default()
        };
        let settings = WorkerSettings {
            stack: "ci".into(),
            region: "eu-west-1".into(),
            endpoint_url: None,
            bucket: "ci-1".into(),
            log_group: "ci".into(),
            role_id: "AROAEXAMPLE".into(),
            slots: 2,
            max_builds: 0,
            lease_file: DEFAULT_LEASE_FILE.into(),
            registry_port: Some(15_850),
            timing: Timing::default(),
            runner,
            docker,
            cache: None,
        };
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<WorkerSettings>(&text).unwrap(), settings);
        assert!(
            !text.contains("privileged") && !text.contains("clone_url"),
            "{text}"
        );
    }

    #[test]
    fn manager_settings_survive_a_round_trip() {
        let policy = Policy {
            on_demand_after: None,
            idle_scale_factor: 0.5,
            ..Policy::default()
        };
        let pool = WorkerPool {
            launch_template: "t".into(),
            subnets: vec!["subnet-1".into()],
            instance_types: vec!["m6i.large".into()],
            spot_max_price: None,
            role_id: "AROAEXAMPLE".into(),
        };
        let settings = ManagerSettings {
            stack: "ci".into(),
            region: "eu-west-1".into(),
            endpoint_url: None,
            bucket: "ci-1".into(),
            log_group: "ci".into(),
            registry_port: None,
            listen_address: None,
            concurrent: 5,
            check_interval: CHECK_INTERVAL,
            tags: BTreeMap::from([("team".into(), "ci".into())]),
            timing: Timing::default(),
            runners: vec![ManagedRunner {
                token: TokenRef::Ssm("/onspot/ci/token".into()),
                runner: Runner::new("docker.m3", "https://gitlab.example".parse().unwrap()),
                policy,
                pool,
            }],
        };
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<ManagerSettings>(&text).unwrap(), settings);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = toml::from_str::<ManagerSettings>("stack = 'x'\nregoin = 'y'").unwrap_err();
        assert!(error.to_string().contains("regoin"), "{error}");
    }
}
