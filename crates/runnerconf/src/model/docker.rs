//! `[runners.docker]`.

mod containers;

pub use containers::{Containers, Resources, Service};

use globset::GlobBuilder;
use onspot_notation::{Cpus, Size, volume};

use crate::error::ConfigError;
use crate::render::Entries;
use crate::section::{Complaint, Section};

/// How jobs run in containers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Docker {
    /// The Docker engine, for example `unix:///run/docker.sock`; the usual one if absent.
    pub host: Option<String>,
    /// Whether the engine's certificate is checked.
    pub tls_verify: bool,
    /// The image of jobs that name none.
    pub image: Option<String>,
    /// Whether job containers get the host's full authority.
    pub privileged: bool,
    /// Whether the volumes of jobs are not kept on the host.
    pub disable_cache: bool,
    /// Mounts of job containers: `source:target[:mode]`, or a bare path.
    pub volumes: Vec<String>,
    /// Size of `/dev/shm` in bytes; 0 means Docker's default.
    pub shm_size: u64,
    /// When images are pulled, tried in this order; empty means always.
    pub pull_policy: Vec<PullPolicy>,
    /// What a job's own `pull_policy` may be; empty means: what `pull_policy` holds.
    pub allowed_pull_policies: Vec<PullPolicy>,
    /// Patterns of the images that jobs may name; empty means all.
    pub allowed_images: Vec<String>,
    /// Patterns of the services that jobs may name; empty means all.
    pub allowed_services: Vec<String>,
    /// `bridge`, `host`, `none` or a network's name.
    pub network_mode: Option<String>,
    /// `name:address` lines for the containers' `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// DNS servers.
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// Limit of memory, for example `512m`.
    pub memory: Option<Size>,
    /// Limit of processors, for example `1.5`.
    pub cpus: Option<Cpus>,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Docker `--security-opt` values.
    pub security_opt: Vec<String>,
    /// The user that job containers run as instead of the image's.
    pub user: Option<String>,
    /// The image of the container that does git, cache and artifacts.
    pub helper_image: Option<String>,
    /// Seconds that services get to open their ports; 0 means the default of 30, -1 not to wait.
    pub wait_for_services_timeout: i64,
    /// What containers may do and use besides.
    pub containers: Containers,
    /// Kept, not used.
    pub other: toml::Table,
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
    const ALL: [Self; 3] = [Self::Always, Self::IfNotPresent, Self::Never];

    /// The name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::IfNotPresent => "if-not-present",
            Self::Never => "never",
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let found = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        found.ok_or_else(|| Complaint::none_of(text, &Self::ALL.map(Self::as_str)))
    }
}

impl Docker {
    pub(super) fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            host: section.string("host")?,
            tls_verify: section.boolean("tls_verify")?.unwrap_or(false),
            image: section.string("image")?,
            privileged: section.boolean("privileged")?.unwrap_or(false),
            disable_cache: section.boolean("disable_cache")?.unwrap_or(false),
            volumes: section.each_parsed("volumes", volume)?,
            shm_size: section.number("shm_size")?.unwrap_or(0),
            pull_policy: policies(&mut section, "pull_policy")?,
            allowed_pull_policies: policies(&mut section, "allowed_pull_policies")?,
            allowed_images: section.patterns("allowed_images", pattern)?,
            allowed_services: section.patterns("allowed_services", pattern)?,
            network_mode: section.string("network_mode")?,
            extra_hosts: section.each_parsed("extra_hosts", extra_host)?,
            dns: section.strings("dns")?,
            dns_search: section.strings("dns_search")?,
            memory: section.parsed("memory", |text| Ok(text.parse()?))?,
            cpus: section.parsed("cpus", |text| Ok(text.parse()?))?,
            cap_add: section.strings("cap_add")?,
            cap_drop: section.strings("cap_drop")?,
            security_opt: section.strings("security_opt")?,
            user: section.string("user")?,
            helper_image: section.string("helper_image")?,
            wait_for_services_timeout: section
                .whole(
                    "wait_for_services_timeout",
                    -1..=i64::MAX,
                    Complaint::new("must be a number of seconds")
                        .with_hint("write -1 not to wait at all"),
                )?
                .unwrap_or(0),
            containers: Containers::read(&mut section)?,
            other: section.finish()?,
        })
    }

    pub(super) fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        entries.put_some("host", self.host.clone());
        entries.put("tls_verify", self.tls_verify);
        entries.put_some("image", self.image.clone());
        entries.put("privileged", self.privileged);
        entries.put("disable_cache", self.disable_cache);
        entries.put_strings("volumes", &self.volumes);
        entries.put_number("shm_size", self.shm_size);
        put_policies(&mut entries, "pull_policy", &self.pull_policy);
        put_policies(
            &mut entries,
            "allowed_pull_policies",
            &self.allowed_pull_policies,
        );
        entries.put_strings("allowed_images", &self.allowed_images);
        entries.put_strings("allowed_services", &self.allowed_services);
        entries.put_some("network_mode", self.network_mode.clone());
        entries.put_strings("extra_hosts", &self.extra_hosts);
        entries.put_strings("dns", &self.dns);
        entries.put_strings("dns_search", &self.dns_search);
        entries.put_some("memory", self.memory.as_ref().map(Size::as_str));
        entries.put_some("cpus", self.cpus.as_ref().map(Cpus::as_str));
        entries.put_strings("cap_add", &self.cap_add);
        entries.put_strings("cap_drop", &self.cap_drop);
        entries.put_strings("security_opt", &self.security_opt);
        entries.put_some("user", self.user.clone());
        entries.put_some("helper_image", self.helper_image.clone());
        if self.wait_for_services_timeout != 0 {
            entries.put("wait_for_services_timeout", self.wait_for_services_timeout);
        }
        self.containers.put(&mut entries);
        entries.put_others(&self.other);
        entries
    }
}

fn policies(section: &mut Section<'_>, key: &'static str) -> Result<Vec<PullPolicy>, ConfigError> {
    section.each_parsed(key, PullPolicy::parse)
}

fn volume(text: &str) -> Result<String, Complaint> {
    volume::check(text)?;
    Ok(text.to_owned())
}

/// A pattern of images' names.
fn pattern(text: &str) -> Result<String, Complaint> {
    match GlobBuilder::new(text).literal_separator(true).build() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Complaint::new(format!(
            "has `{text}`, which is no pattern: {}",
            error.kind()
        ))
        .with_hint("write for example \"registry.example.com/team/*:*\"")),
    }
}

/// `name:address`.
fn extra_host(text: &str) -> Result<String, Complaint> {
    match text.split_once([':', '=']) {
        Some((name, address)) if !name.is_empty() && !address.is_empty() => Ok(text.to_owned()),
        _ => Err(
            Complaint::new(format!("has `{text}`, which names no address"))
                .with_hint("write name:address, for example \"gitlab.example:10.0.0.5\""),
        ),
    }
}

/// One policy is written as a string, several as a list.
fn put_policies(entries: &mut Entries, key: &str, policies: &[PullPolicy]) {
    match policies {
        [] => {}
        [policy] if key == "pull_policy" => entries.put(key, policy.as_str()),
        policies => {
            entries.put(
                key,
                policies
                    .iter()
                    .map(|policy| policy.as_str())
                    .collect::<Vec<_>>(),
            );
        }
    }
}
