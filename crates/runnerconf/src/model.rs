//! The model of a `config.toml`, in GitLab Runner's terms.

use std::net::SocketAddr;
use std::path::Path;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::reference::{Key, NO_METRICS, NO_SESSIONS, OWN_LOOPS};
use crate::render::Entries;
use crate::section::{Complaint, Section, Source};

pub(crate) mod autoscaler;
pub(crate) mod cache;
pub(crate) mod docker;
mod executor;
pub(crate) mod machine;
mod periods;
pub(crate) mod runner;

pub use autoscaler::{Autoscaler, AutoscalerPolicy};
pub use cache::{Cache, CacheType, S3, S3Authentication};
pub use docker::Docker;
pub use executor::ExecutorKind;
pub use machine::{Machine, MachinePeriod, OffPeak};
pub use runner::Runner;

use runner::Names;

/// How the keys outside of any table are handled.
pub(crate) const KEYS: &[Key] = &[
    Key::honoured("check_interval"),
    Key::honoured("concurrent"),
    Key::warned("connection_max_age", OWN_LOOPS),
    Key::warned("experimental", "onspot writes no usage log"),
    Key::warned("labels", "labels are for GitLab Runner's metrics and logs"),
    Key::honoured("listen_address"),
    Key::warned("log_format", "use --output json, or leave it out"),
    Key::honoured("log_level"),
    Key::warned(
        "machine",
        "workers are drained, not removed, when onspot ends",
    ),
    Key::warned("metrics_server", NO_METRICS), // until 11
    Key::honoured("runners"),
    Key::warned("sentry_dsn", "onspot reports to no Sentry"),
    Key::warned("session_server", NO_SESSIONS),
    Key::warned("shutdown_timeout", OWN_LOOPS),
    Key::warned("user", "run onspot as that user instead"),
];

/// A whole `config.toml`.
///
/// Keys that GitLab Runner knows but this model does not are kept unchanged in the `other` tables,
/// here and in the types below.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How many jobs run at once over all runners, at least 1.
    pub concurrent: u32,
    /// Seconds between two requests for a job; 0 means GitLab Runner's default of 3.
    pub check_interval: u32,
    /// Where metrics are served: `host:port`, or `:port` for all addresses of this host.
    pub listen_address: Option<SocketAddr>,
    /// `debug`, `info`, `warn`, `error`, `fatal` or `panic`.
    pub log_level: Option<String>,
    /// `runner`, `text` or `json`.
    pub log_format: Option<String>,
    /// The runners, in the file's order.
    pub runners: Vec<Runner>,
    /// Kept, not used.
    pub other: toml::Table,
}

impl Config {
    /// Parses a `config.toml`. `file` is its name, for errors.
    ///
    /// # Errors
    /// The first error in the file.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        Self::parse_with(text, file, |name| std::env::var(name).ok())
    }

    /// Parses a `config.toml`, with `variable` instead of the environment for every `$NAME` in
    /// `url` and `token`.
    ///
    /// # Errors
    /// See [`Config::parse`].
    pub fn parse_with(
        text: &str,
        file: &str,
        variable: fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let source = Source {
            file,
            text,
            variable,
        };
        Self::read(source.root()?)
    }

    /// Reads a `config.toml` from disk.
    ///
    /// # Errors
    /// If the file cannot be read; see [`Config::parse`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            ConfigError::new(
                ConfigErrorKind::Read {
                    path: path.to_owned(),
                    source,
                },
                None,
            )
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    pub(crate) fn read(mut file: Section<'_>) -> Result<Self, ConfigError> {
        let mut runners = Vec::new();
        let mut names = Names::default();
        for mut section in file.sections("runners")? {
            let name = names.read(&mut section)?;
            runners.push(Runner::read(section, name)?);
        }
        let concurrent = file.whole(
            "concurrent",
            1..=i64::from(u32::MAX),
            Complaint::new("must be 1 at least, or no job is ever run")
                .with_hint("write how many jobs may run at once"),
        )?;
        Ok(Self {
            concurrent: concurrent.unwrap_or(1),
            check_interval: file.number("check_interval")?.unwrap_or(0),
            listen_address: file.parsed("listen_address", socket_address)?,
            log_level: file.parsed("log_level", |text| word(text, &LOG_LEVELS))?,
            log_format: file.parsed("log_format", |text| word(text, &LOG_FORMATS))?,
            runners,
            other: file.finish()?,
        })
    }

    /// The entries that [`crate::render()`] writes.
    pub(crate) fn entries(&self) -> Entries {
        let Self {
            concurrent,
            check_interval,
            listen_address,
            log_level,
            log_format,
            runners,
            other,
        } = self;
        let mut entries = Entries::default();
        entries.put_number("concurrent", *concurrent);
        entries.put_number("check_interval", *check_interval);
        entries.put_some("listen_address", listen_address.map(|at| at.to_string()));
        entries.put_some("log_level", log_level.clone());
        entries.put_some("log_format", log_format.clone());
        entries.put_others(other);
        entries.put_sections("runners", runners.iter().map(Runner::entries).collect());
        entries
    }
}

impl Default for Config {
    /// No runner, one job at a time.
    fn default() -> Self {
        Self {
            concurrent: 1,
            check_interval: 0,
            listen_address: None,
            log_level: None,
            log_format: None,
            runners: Vec::new(),
            other: toml::Table::new(),
        }
    }
}

/// GitLab Runner's levels, and their names elsewhere.
const LOG_LEVELS: [&str; 8] = [
    "debug", "info", "warn", "warning", "error", "fatal", "panic", "trace",
];
const LOG_FORMATS: [&str; 3] = ["runner", "text", "json"];

/// One of the allowed words.
/// `host:port` with an address as host, or `:port` for all addresses of this host.
fn socket_address(text: &str) -> Result<SocketAddr, Complaint> {
    let whole = match text.split_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    whole.parse().map_err(|_| {
        Complaint::new(format!("`{text}` is not an address and a port"))
            .with_hint("write for example \"127.0.0.1:9252\" or \":9252\"")
    })
}

fn word(text: &str, allowed: &[&str]) -> Result<String, Complaint> {
    if allowed.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(Complaint::none_of(text, allowed))
    }
}
