//! The variables of a job: the runner's additions to those from GitLab.

use onspot_gitlab::job::JobPayload;
use onspot_gitlab::{FILE_FOLDER, Variable, Variables};
use url::Url;

use super::Site;
use crate::error::Error;
use crate::settings::RunnerSettings;

/// All variables, the weakest first: the runner's, the job's, and those that only the runner knows.
pub(super) fn all(
    job: &JobPayload,
    settings: &RunnerSettings,
    site: &Site<'_>,
    project: &str,
) -> Variables {
    let weak = defaults(settings, job)
        .into_iter()
        .chain(environment(settings));
    let strong = places(settings, site, project);
    Variables::resolve(weak.chain(job.variables.iter().cloned()).chain(strong))
}

/// Disables the job's debug variables if the runner does not allow them, with a warning.
pub(super) fn without_debugging(
    variables: &mut Variables,
    settings: &RunnerSettings,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if !settings.runner.debug_trace_disabled {
        return warnings;
    }
    for key in ["CI_DEBUG_TRACE", "CI_DEBUG_SERVICES"] {
        if variables.flag(key) {
            variables.set(Variable::public(key, "false"));
            warnings.push(format!("{key}: this runner does not allow it"));
        }
    }
    warnings
}

/// Warnings about variables that should be true or false and are neither.
pub(super) fn not_boolean(variables: &Variables) -> Vec<String> {
    ["CI_DEBUG_TRACE", "AFTER_SCRIPT_IGNORE_ERRORS"]
        .iter()
        .filter_map(|key| {
            let value = variables.get(key).filter(|value| !value.is_empty())?;
            onspot_settings::boolean(value)
                .is_none()
                .then(|| format!("{key} is ignored: {value:?} is neither true nor false"))
        })
        .collect()
}

fn short_token<'a>(settings: &'a RunnerSettings, site: &Site<'a>) -> &'a str {
    match settings.short_token.as_str() {
        "" => site.short_token,
        token => token,
    }
}

/// Whether a variable of this name sets a proxy. Programs accept both lower and upper case.
pub(super) fn is_proxy(name: &str) -> bool {
    ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]
        .iter()
        .any(|proxy| name.eq_ignore_ascii_case(proxy))
}

/// Variables that GitLab usually sends, for servers that do not.
fn defaults(settings: &RunnerSettings, job: &JobPayload) -> Vec<Variable> {
    let mut list = vec![
        Variable::public("CI", "true"),
        Variable::public("GITLAB_CI", "true"),
        Variable::public("CI_SERVER", "yes"),
        Variable::public("CI_SERVER_NAME", "GitLab"),
        Variable::public(
            "CI_SERVER_URL",
            settings.runner.url.as_str().trim_end_matches('/'),
        ),
        Variable::public("CI_JOB_STATUS", "running"),
        Variable::public("CI_JOB_TIMEOUT", job.runner_info.timeout.to_string()),
    ];
    if let Some(image) = &job.image {
        list.push(Variable {
            raw: false,
            ..Variable::public("CI_JOB_IMAGE", &image.name)
        });
    }
    if let Some(pem) = settings.tls_ca_pem.as_ref().filter(|pem| !pem.is_empty()) {
        list.push(Variable {
            file: true,
            ..Variable::public("CI_SERVER_TLS_CA_FILE", pem)
        });
    }
    let url = &settings.runner.url;
    let host = url.host_str().unwrap_or_default();
    list.push(Variable::public("CI_SERVER_HOST", host));
    list.push(Variable::public("CI_SERVER_PROTOCOL", url.scheme()));
    if let Some(port) = url.port_or_known_default() {
        list.push(Variable::public("CI_SERVER_PORT", port.to_string()));
    }
    list
}

/// The runner's own `environment = ["NAME=value"]`.
fn environment(settings: &RunnerSettings) -> impl Iterator<Item = Variable> + '_ {
    settings.runner.environment.iter().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let public = Variable::public(key.trim(), value);
        Some(Variable {
            public: false,
            raw: false,
            ..public
        })
    })
}

/// Variables that depend on where the job runs, or that a job must not change.
fn places(settings: &RunnerSettings, site: &Site<'_>, project: &str) -> Vec<Variable> {
    let builds = site.builds_dir;
    let isolated = site.executor == "docker";
    let mut list = vec![
        Variable::public("CI_RUNNER_VERSION", env!("CARGO_PKG_VERSION")),
        Variable::public(
            "CI_RUNNER_REVISION",
            concat!("v", env!("CARGO_PKG_VERSION")),
        ),
        Variable::public("CI_RUNNER_EXECUTABLE_ARCH", executable_arch()),
        Variable::public("CI_BUILDS_DIR", builds),
        Variable::public("CI_PROJECT_DIR", format!("{builds}/{project}")),
        Variable::public(FILE_FOLDER, format!("{builds}/{project}.tmp")),
        Variable::public("CI_CONCURRENT_ID", site.slot.to_string()),
        Variable::public("CI_CONCURRENT_PROJECT_ID", site.slot.to_string()),
        Variable::public(
            if isolated {
                "CI_DISPOSABLE_ENVIRONMENT"
            } else {
                "CI_SHARED_ENVIRONMENT"
            },
            "true",
        ),
    ];
    let short_token = short_token(settings, site);
    if !short_token.is_empty() {
        list.push(Variable::public("CI_RUNNER_SHORT_TOKEN", short_token));
    }
    list
}

/// The name of a job's own network, as with GitLab Runner.
pub(super) fn network_name(job: &JobPayload, settings: &RunnerSettings, site: &Site<'_>) -> String {
    let name = format!(
        "runner-{}-{}-{}-{}",
        short_token(settings, site),
        job.job_info.project_id,
        site.slot,
        job.id
    );
    let name: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    name.to_ascii_lowercase().replace("--", "-")
}

/// `linux/amd64`: in Go's terms, which scripts know.
fn executable_arch() -> String {
    format!("{}/{}", std::env::consts::OS, architecture())
}

/// This host's processor, as images name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The project's path below the builds folder: `group/project`.
pub(super) fn project_path(job: &JobPayload) -> Result<String, Error> {
    let variable = |key: &str| job.variables.iter().rev().find(|v| v.key == key);
    let from_url = || {
        let url = Url::parse(&job.git_info.repo_url).ok()?;
        Some(
            url.path()
                .trim_start_matches('/')
                .trim_end_matches(".git")
                .to_owned(),
        )
    };
    let path = Some(job.job_info.project_full_path.clone())
        .filter(|path| !path.is_empty())
        .or_else(|| variable("CI_PROJECT_PATH").map(|v| v.value.clone()))
        .or_else(from_url)
        .unwrap_or_default();
    let path = path.trim_matches('/');
    let sound = !path.is_empty()
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.contains(['\0', '\n']);
    if sound {
        Ok(path.to_owned())
    } else {
        Err(Error::Payload(format!(
            "the project's path {path:?} is no path"
        )))
    }
}
