//! One `[[runners]]`.

use std::collections::BTreeMap;

use onspot_settings::TokenRef;
use url::Url;

use super::{Autoscaler, Cache, Docker, ExecutorKind, Machine};
use crate::error::ConfigError;
use crate::keys::{self, Keys, keys};
use crate::reference::{BOOKKEEPING, Key, NO_METRICS, OTHER_EXECUTOR, OWN_LOOPS};
use crate::render::Entries;
use crate::section::{Complaint, Section, Variable, environment};

/// One `[[runners]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Runner {
    /// Its identity in GitLab, and the settings for its jobs.
    pub settings: onspot_settings::Runner,
    /// Where its token is.
    pub token: TokenRef,
    /// How jobs are run.
    pub executor: ExecutorKind,
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

/// How the keys of `[[runners]]` are handled that are not honoured.
pub(crate) const OTHERS: &[Key] = &[
    Key::warned("artifact", OWN_LOOPS),
    Key::warned(
        "clean_git_config",
        "git's configuration is made anew for each job",
    ),
    Key::warned("custom", OTHER_EXECUTOR),
    Key::warned("experimental", "onspot runs no job of its own at the start"),
    Key::warned("id", BOOKKEEPING),
    Key::warned("instance", OTHER_EXECUTOR),
    Key::warned("job_status_final_update_retry_limit", OWN_LOOPS),
    Key::warned("kubernetes", OTHER_EXECUTOR),
    Key::warned("labels", "labels are for GitLab Runner's metrics and logs"),
    Key::warned("monitoring", NO_METRICS),
    Key::warned("parallels", OTHER_EXECUTOR),
    Key::warned("proxy_exec", "scripts run without the helper between"),
    Key::warned("referees", NO_METRICS),
    Key::warned(
        "safe_directory_checkout",
        "the build folder is safe for git as it is",
    ),
    Key::warned("ssh", OTHER_EXECUTOR),
    Key::warned("step_runner_image", "onspot does not run steps"),
    Key::warned("strict_check_interval", OWN_LOOPS),
    Key::refused("tls-cert-file", "onspot has no client certificates"),
    Key::refused("tls-key-file", "onspot has no client certificates"),
    Key::warned("token_expires_at", BOOKKEEPING),
    Key::warned("token_obtained_at", BOOKKEEPING),
    Key::warned("unhealthy_interval", OWN_LOOPS),
    Key::warned("unhealthy_requests_limit", OWN_LOOPS),
    Key::warned("virtualbox", OTHER_EXECUTOR),
];

/// The keys with an effect that have a default.
fn of_settings(runner: &mut onspot_settings::Runner) -> Keys<'_> {
    use onspot_settings::Runner;
    keys!(runner => Runner {
        limit: "limit" as ShownNumber,
        request_concurrency: "request_concurrency" as Number,
        output_limit: "output_limit" as Number,
        clone_url: "clone_url" as Text(base_url),
        prepare_timeout: "prepare_timeout" as Limit,
        get_sources_timeout: "get_sources_timeout" as Limit,
        environment: "environment" as Texts(variable),
        builds_dir: "builds_dir" as String,
        cache_dir: "cache_dir" as String,
        shell: "shell" as String,
        pre_get_sources_script: "pre_get_sources_script" as Renamed("pre_clone_script"),
        post_get_sources_script: "post_get_sources_script" as Renamed("post_clone_script"),
        pre_build_script: "pre_build_script" as String,
        post_build_script: "post_build_script" as String,
        tls_ca_file: "tls-ca-file" as Path,
        debug_trace_disabled: "debug_trace_disabled" as Flag,
        use_slot_cgroups: "use_slot_cgroups" as Flag,
        slot_cgroup_template: "slot_cgroup_template" as String,
        feature_flags: "feature_flags" as Flags,
    } and [name, url, custom_build_dir])
}

/// What becomes of the keys of `[runners.custom_build_dir]`.
pub(crate) const KEYS_OF_BUILD_DIR: &[Key] = &[Key::honoured("enabled")];

/// The keys of `[[runners]]` that are honoured.
pub(crate) fn honoured() -> Vec<&'static str> {
    let mut none = onspot_settings::Runner::without_gitlab("");
    let mut names = keys::names(&of_settings(&mut none));
    names.extend(["name", "url", "token", "executor"]);
    names.extend(["docker", "cache", "machine", "autoscaler"]);
    names.push("custom_build_dir");
    names
}

impl Runner {
    /// A runner with nothing set but what has no default.
    pub fn new(name: impl Into<String>, url: Url, token: TokenRef, executor: ExecutorKind) -> Self {
        Self {
            settings: onspot_settings::Runner::new(name, url),
            token,
            executor,
            docker: None,
            cache: None,
            machine: None,
            autoscaler: None,
            other: toml::Table::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    pub(super) fn read(mut section: Section<'_>, name: String) -> Result<Self, ConfigError> {
        let variable = section.variable();
        let url = section.parsed("url", |text| {
            parse_url(&environment::expand(text, variable)?)
        })?;
        let token = section.parsed("token", |text| parse_token(text, variable))?;
        let executor = section.parsed("executor", ExecutorKind::parse)?;
        let token = section.required("token", token)?;
        let url = section.required("url", url)?;
        let executor = section.required("executor", executor)?;
        let mut settings = onspot_settings::Runner::new(name, url);
        keys::read(of_settings(&mut settings), &mut section)?;
        if let Some(mut build_dir) = section.section("custom_build_dir")? {
            settings.custom_build_dir = build_dir.boolean("enabled")?;
            build_dir.finish()?;
        }
        Ok(Self {
            settings,
            token,
            executor,
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
        let Self {
            settings,
            token,
            executor,
            docker,
            cache,
            machine,
            autoscaler,
            other,
        } = self;
        let mut entries = Entries::default();
        entries.put("name", settings.name.clone());
        entries.put("url", settings.url.as_str().trim_end_matches('/'));
        entries.put("token", token.to_config());
        entries.put("executor", executor.as_str());
        keys::write(of_settings(&mut settings.clone()), &mut entries);
        entries.put_others(other);
        if let Some(enabled) = settings.custom_build_dir {
            let mut build_dir = Entries::default();
            build_dir.put("enabled", enabled);
            entries.put_section("custom_build_dir", build_dir);
        }
        for (key, section) in [
            ("docker", docker.as_ref().map(Docker::entries)),
            ("cache", cache.as_ref().map(Cache::entries)),
            ("machine", machine.as_ref().map(Machine::entries)),
            ("autoscaler", autoscaler.as_ref().map(Autoscaler::entries)),
        ] {
            if let Some(section) = section {
                entries.put_section(key, section);
            }
        }
        entries
    }
}

/// The runners' names so far with their lines. Jobs are requested and stored by the runner's name,
/// so each must be unique.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, usize>);

impl Names {
    /// Reads a runner's name, which must differ from all earlier ones.
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

/// A token, a reference to one, or an environment variable: `$NAME`.
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

/// Checks `NAME=value`. The error does not contain the text, which may be part of a secret.
pub(super) fn variable(text: &str) -> Result<String, Complaint> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => {
            Err(Complaint::new("has an entry that is not a variable").with_hint("write NAME=value"))
        }
    }
}

fn base_url(text: &str) -> Result<String, Complaint> {
    parse_url(text).map(|_| text.to_owned())
}

fn parse_url(text: &str) -> Result<Url, Complaint> {
    let hint = "write the base URL, for example \"https://gitlab.com\"";
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            // `https://gitlab.com/sub` and `https://gitlab.com/sub/` get the same form.
            let trimmed = text.trim_end_matches('/');
            Ok(Url::parse(trimmed).unwrap_or(url))
        }
        Ok(_) => Err(Complaint::new("must begin with http:// or https://").with_hint(hint)),
        Err(error) => Err(Complaint::new(format!("is no URL: {error}")).with_hint(hint)),
    }
}
