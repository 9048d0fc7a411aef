//! What a `config.toml` says, in GitLab Runner's terms.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::known;
use crate::render::Entries;
use crate::section::{Complaint, Section, Source};
use crate::token::TokenRef;

mod autoscaler;
mod cache;
mod docker;
mod machine;

pub use autoscaler::{Autoscaler, AutoscalerPolicy};
pub use cache::{Cache, CacheType, S3};
pub use docker::{Containers, Docker, PullPolicy, Resources, Service};
pub use machine::{Machine, MachinePeriod};

/// A whole `config.toml`.
///
/// Keys that GitLab Runner knows and this model does not are kept in the `other` tables as they
/// are, here and below.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How many jobs run at once over all runners, at least 1.
    pub concurrent: u32,
    /// Seconds between two questions for a job; 0 means GitLab Runner's default of 3.
    pub check_interval: u32,
    /// `debug`, `info`, `warn`, `error`, `fatal` or `panic`.
    pub log_level: Option<String>,
    /// `runner`, `text` or `json`.
    pub log_format: Option<String>,
    /// Where metrics are served, `host:port`.
    pub listen_address: Option<String>,
    /// Seconds that a forced shutdown waits; 0 means the default.
    pub shutdown_timeout: u32,
    /// The runners, in the file's order.
    pub runners: Vec<Runner>,
    /// Kept, not used.
    pub other: toml::Table,
}

/// One `[[runners]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Runner {
    /// The runner's name.
    pub name: String,
    /// GitLab's base URL.
    pub url: Url,
    /// Where its token is.
    pub token: TokenRef,
    /// How jobs are run.
    pub executor: ExecutorKind,
    /// How many jobs it runs at once; 0 means no limit but `concurrent`.
    pub limit: u32,
    /// How many questions for a job may be open at once; 0 means 1.
    pub request_concurrency: u32,
    /// The most a job may log, in KiB; 0 means the default of 4096.
    pub output_limit: u32,
    /// Replaces scheme, host and port of repository URLs.
    pub clone_url: Option<String>,
    /// `NAME=value` lines that every job gets.
    pub environment: Vec<String>,
    /// Where jobs are built, on the host or in the container.
    pub builds_dir: Option<String>,
    /// Where caches are kept, on the host or in the container.
    pub cache_dir: Option<String>,
    /// The shell that scripts are written for.
    pub shell: Option<String>,
    /// Shell lines before the sources are fetched.
    pub pre_get_sources_script: Option<String>,
    /// Shell lines after the sources are fetched.
    pub post_get_sources_script: Option<String>,
    /// Shell lines before the job's own.
    pub pre_build_script: Option<String>,
    /// Shell lines after the job's own.
    pub post_build_script: Option<String>,
    /// A PEM file with the authorities that GitLab's certificate is checked against.
    pub tls_ca_file: Option<PathBuf>,
    /// Whether jobs get no `CI_DEBUG_TRACE` and no `CI_DEBUG_SERVICES`.
    pub debug_trace_disabled: bool,
    /// Whether each slot's containers have a cgroup of their own.
    pub use_slot_cgroups: bool,
    /// That cgroup, `${slot}` being the slot's number.
    pub slot_cgroup_template: Option<String>,
    /// `[runners.docker]`.
    pub docker: Option<Docker>,
    /// `[runners.cache]`.
    pub cache: Option<Cache>,
    /// `[runners.machine]`.
    pub machine: Option<Machine>,
    /// `[runners.autoscaler]`.
    pub autoscaler: Option<Autoscaler>,
    /// Kept, not used.
    pub other: toml::Table,
}

/// GitLab Runner's executors.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExecutorKind {
    /// Containers on this host.
    Docker,
    /// A shell on this host.
    Shell,
    /// Containers on instances that come and go, as in 2017.
    DockerMachine,
    /// Containers on instances that come and go, GitLab's successor of `docker+machine`.
    DockerAutoscaler,
    /// One that GitLab Runner has and onspot does not.
    Other(String),
}

impl ExecutorKind {
    const OTHERS: [&str; 8] = [
        "kubernetes",
        "instance",
        "custom",
        "ssh",
        "virtualbox",
        "parallels",
        "docker-windows",
        "docker-ssh",
    ];

    /// The name in the file.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Docker => "docker",
            Self::Shell => "shell",
            Self::DockerMachine => "docker+machine",
            Self::DockerAutoscaler => "docker-autoscaler",
            Self::Other(name) => name,
        }
    }

    /// Whether onspot can run such jobs.
    pub fn is_supported(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// Whether jobs run on instances that come and go.
    pub fn autoscales(&self) -> bool {
        matches!(self, Self::DockerMachine | Self::DockerAutoscaler)
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        const OURS: [ExecutorKind; 4] = [
            ExecutorKind::Docker,
            ExecutorKind::Shell,
            ExecutorKind::DockerMachine,
            ExecutorKind::DockerAutoscaler,
        ];
        if let Some(ours) = OURS.into_iter().find(|ours| ours.as_str() == text) {
            return Ok(ours);
        }
        if Self::OTHERS.contains(&text) {
            return Ok(Self::Other(text.to_owned()));
        }
        let names = OURS
            .iter()
            .map(Self::as_str)
            .chain(Self::OTHERS)
            .collect::<Vec<_>>();
        Err(Complaint::none_of(text, &names))
    }
}

impl fmt::Display for ExecutorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Config {
    /// Reads a `config.toml`. `file` is its name, for errors.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        Self::read(Source { file, text }, true)
    }

    /// Reads a `config.toml` whose runners may lack a token, as a worker gets it.
    pub fn parse_without_tokens(text: &str, file: &str) -> Result<Self, ConfigError> {
        Self::read(Source { file, text }, false)
    }

    /// Reads a `config.toml` from the disk.
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

    fn read(source: Source<'_>, tokens: bool) -> Result<Self, ConfigError> {
        let mut file = source.root()?;
        let mut runners = Vec::new();
        for section in file.sections("runners")? {
            runners.push(Runner::read(section, tokens)?);
        }
        Ok(Self {
            concurrent: file.number("concurrent")?.unwrap_or(1).max(1),
            check_interval: file.number("check_interval")?.unwrap_or(0),
            log_level: file.string("log_level")?,
            log_format: file.string("log_format")?,
            listen_address: file.string("listen_address")?,
            shutdown_timeout: file.number("shutdown_timeout")?.unwrap_or(0),
            runners,
            other: file.finish(known::TOP)?,
        })
    }

    /// What [`crate::render()`] writes.
    pub(crate) fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        entries.put_number("concurrent", self.concurrent);
        entries.put_number("check_interval", self.check_interval);
        entries.put_some("log_level", self.log_level.clone());
        entries.put_some("log_format", self.log_format.clone());
        entries.put_some("listen_address", self.listen_address.clone());
        entries.put_nonzero("shutdown_timeout", self.shutdown_timeout.into());
        entries.put_others(&self.other);
        entries.put_sections(
            "runners",
            self.runners.iter().map(Runner::entries).collect(),
        );
        entries
    }
}

impl Default for Config {
    /// No runner, one job at a time.
    fn default() -> Self {
        Self {
            concurrent: 1,
            check_interval: 0,
            log_level: None,
            log_format: None,
            listen_address: None,
            shutdown_timeout: 0,
            runners: Vec::new(),
            other: toml::Table::new(),
        }
    }
}

impl Runner {
    /// A runner with nothing set but what has no default.
    pub fn new(name: impl Into<String>, url: Url, token: TokenRef, executor: ExecutorKind) -> Self {
        Self {
            name: name.into(),
            url,
            token,
            executor,
            limit: 0,
            request_concurrency: 0,
            output_limit: 0,
            clone_url: None,
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
            docker: None,
            cache: None,
            machine: None,
            autoscaler: None,
            other: toml::Table::new(),
        }
    }

    fn read(mut section: Section<'_>, tokens: bool) -> Result<Self, ConfigError> {
        let name = section.string("name")?;
        let url = section.parsed("url", parse_url)?;
        let token = section.parsed("token", |text| {
            text.parse::<TokenRef>().map_err(|error| Complaint {
                reason: format!("is no token and no reference to one: {error}"),
                hint: error.hint(),
            })
        })?;
        let executor = section.parsed("executor", ExecutorKind::parse)?;
        let token = match token {
            None if !tokens => TokenRef::Absent,
            token => section.required("token", token)?,
        };
        Ok(Self {
            name: section.required("name", name)?,
            url: section.required("url", url)?,
            token,
            executor: section.required("executor", executor)?,
            limit: section.number("limit")?.unwrap_or(0),
            request_concurrency: section.number("request_concurrency")?.unwrap_or(0),
            output_limit: section.number("output_limit")?.unwrap_or(0),
            clone_url: section.string("clone_url")?,
            environment: section.strings("environment")?,
            builds_dir: section.string("builds_dir")?,
            cache_dir: section.string("cache_dir")?,
            shell: section.string("shell")?,
            pre_get_sources_script: script(
                &mut section,
                "pre_get_sources_script",
                "pre_clone_script",
            )?,
            post_get_sources_script: script(
                &mut section,
                "post_get_sources_script",
                "post_clone_script",
            )?,
            pre_build_script: section.string("pre_build_script")?,
            post_build_script: section.string("post_build_script")?,
            tls_ca_file: section.string("tls-ca-file")?.map(PathBuf::from),
            debug_trace_disabled: section.boolean("debug_trace_disabled")?.unwrap_or(false),
            use_slot_cgroups: section.boolean("use_slot_cgroups")?.unwrap_or(false),
            slot_cgroup_template: section.string("slot_cgroup_template")?,
            docker: section.section("docker")?.map(Docker::read).transpose()?,
            cache: section.section("cache")?.map(Cache::read).transpose()?,
            machine: section.section("machine")?.map(Machine::read).transpose()?,
            autoscaler: section
                .section("autoscaler")?
                .map(Autoscaler::read)
                .transpose()?,
            other: section.finish(known::RUNNER)?,
        })
    }

    fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        entries.put("name", self.name.clone());
        entries.put("url", self.url.as_str().trim_end_matches('/'));
        entries.put_some("token", self.token.to_config());
        entries.put("executor", self.executor.as_str());
        entries.put_number("limit", self.limit);
        entries.put_nonzero("request_concurrency", self.request_concurrency.into());
        entries.put_nonzero("output_limit", self.output_limit.into());
        entries.put_some("clone_url", self.clone_url.clone());
        entries.put_strings("environment", &self.environment);
        entries.put_some("builds_dir", self.builds_dir.clone());
        entries.put_some("cache_dir", self.cache_dir.clone());
        entries.put_some("shell", self.shell.clone());
        entries.put_some(
            "pre_get_sources_script",
            self.pre_get_sources_script.clone(),
        );
        entries.put_some(
            "post_get_sources_script",
            self.post_get_sources_script.clone(),
        );
        entries.put_some("pre_build_script", self.pre_build_script.clone());
        entries.put_some("post_build_script", self.post_build_script.clone());
        let ca = self
            .tls_ca_file
            .as_ref()
            .map(|path| path.display().to_string());
        entries.put_some("tls-ca-file", ca);
        entries.put_flag("debug_trace_disabled", self.debug_trace_disabled);
        entries.put_flag("use_slot_cgroups", self.use_slot_cgroups);
        entries.put_some("slot_cgroup_template", self.slot_cgroup_template.clone());
        entries.put_others(&self.other);
        for (key, section) in [
            ("docker", self.docker.as_ref().map(Docker::entries)),
            ("cache", self.cache.as_ref().map(Cache::entries)),
            ("machine", self.machine.as_ref().map(Machine::entries)),
            (
                "autoscaler",
                self.autoscaler.as_ref().map(Autoscaler::entries),
            ),
        ] {
            if let Some(section) = section {
                entries.put_section(key, section);
            }
        }
        entries
    }
}

/// A script under its name of today, or the one it had before GitLab Runner 16.
fn script(
    section: &mut Section<'_>,
    today: &'static str,
    before: &'static str,
) -> Result<Option<String>, ConfigError> {
    let old = section.string(before)?;
    Ok(section.string(today)?.or(old))
}

fn parse_url(text: &str) -> Result<Url, Complaint> {
    let hint = "write the base URL, for example \"https://gitlab.com\"";
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            // One form for `https://gitlab.com/sub` and `https://gitlab.com/sub/`.
            let trimmed = text.trim_end_matches('/');
            Ok(Url::parse(trimmed).unwrap_or(url))
        }
        Ok(_) => Err(Complaint::new("must begin with http:// or https://").with_hint(hint)),
        Err(error) => Err(Complaint::new(format!("is no URL: {error}")).with_hint(hint)),
    }
}
