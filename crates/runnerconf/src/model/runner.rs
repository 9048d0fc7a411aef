//! One `[[runners]]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

use super::{Autoscaler, Cache, Docker, ExecutorKind, Machine};
use crate::error::ConfigError;
use crate::render::Entries;
use crate::section::{Complaint, Section, Variable, environment};
use crate::token::TokenRef;

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

    pub(super) fn read(
        mut section: Section<'_>,
        name: String,
        tokens: bool,
    ) -> Result<Self, ConfigError> {
        let variable = section.variable();
        let url = section.parsed("url", |text| {
            parse_url(&environment::expand(text, variable)?)
        })?;
        let token = section.parsed("token", |text| parse_token(text, variable))?;
        let executor = section.parsed("executor", ExecutorKind::parse)?;
        let token = match token {
            None if !tokens => TokenRef::Absent,
            token => section.required("token", token)?,
        };
        Ok(Self {
            name,
            url: section.required("url", url)?,
            token,
            executor: section.required("executor", executor)?,
            limit: section.number("limit")?.unwrap_or(0),
            request_concurrency: section.number("request_concurrency")?.unwrap_or(0),
            output_limit: section.number("output_limit")?.unwrap_or(0),
            clone_url: section
                .parsed("clone_url", |text| parse_url(text).map(|_| text.to_owned()))?,
            environment: section.each_parsed("environment", parse_variable)?,
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
            other: section.finish()?,
        })
    }

    pub(super) fn entries(&self) -> Entries {
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

/// The runners' names so far, each with its line. Jobs are asked for, and kept, by the runner's
/// name.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, usize>);

impl Names {
    /// Takes a runner's name, which no runner before may have.
    pub(super) fn read(&mut self, section: &mut Section<'_>) -> Result<String, ConfigError> {
        let found = section.string_at("name")?;
        let (name, span) = section.required("name", found)?;
        let line = section.line_of(&span);
        match self.0.insert(name.clone(), line) {
            None => Ok(name),
            Some(before) => {
                let reason = format!(
                    "is `{name}` in line {before} and again in line {line}: two [[runners]] \
                     can't have one name"
                );
                let complaint = Complaint::new(reason).with_hint("rename one of them");
                Err(section.bad_value("name", complaint, span))
            }
        }
    }
}

/// A token, a reference to one, or the name of an environment variable: `$NAME`.
fn parse_token(text: &str, variable: Variable) -> Result<TokenRef, Complaint> {
    if let Some(name) = environment::sole_reference(text) {
        environment::value(name, variable)?;
        return Ok(TokenRef::Env(name.to_owned()));
    }
    let text = environment::expand(text, variable)?;
    text.parse::<TokenRef>().map_err(|error| Complaint {
        reason: format!("is no token and no reference to one: {error}"),
        hint: error.hint(),
    })
}

/// `NAME=value`. What it says may be half of a secret, so it is not repeated.
pub(super) fn parse_variable(text: &str) -> Result<String, Complaint> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => {
            Err(Complaint::new("has an entry that is not a variable").with_hint("write NAME=value"))
        }
    }
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
