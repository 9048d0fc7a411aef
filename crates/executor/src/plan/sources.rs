//! The plan for getting a job's repository.

use onspot_gitlab::Variables;
use onspot_gitlab::job::{Hook, JobPayload, RefType};
use url::Url;

use super::{is_no, script};
use crate::error::ExecutorError;
use crate::helper::request::{Login, Place, Sources, Strategy, Submodules};
use crate::settings::RunnerSettings;

pub(super) fn plan(
    job: &JobPayload,
    settings: &RunnerSettings,
    variables: &Variables,
    place: &Place,
) -> Result<Sources, ExecutorError> {
    let strategy = strategy(job, variables)?;
    let (url, login) = repository(job, settings, strategy)?;
    let depth = match variables.get("GIT_DEPTH").map(str::trim) {
        None | Some("") => job.git_info.depth,
        Some(depth) => depth.parse().unwrap_or(job.git_info.depth),
    };
    // Without a repository the hooks make no sense.
    let hooks = !matches!(strategy, Strategy::None | Strategy::Empty);
    let words = |key: &str, default: &str| flags(variables.get(key), default);
    Ok(Sources {
        strategy,
        url,
        login,
        reference: job.git_info.r#ref.clone(),
        sha: job.git_info.sha.clone(),
        protected: job.is_protected(),
        refspecs: refspecs(job),
        depth,
        object_format: Some(job.git_info.repo_object_format.clone())
            .filter(|format| !matches!(format.as_str(), "" | "sha1")),
        checkout: !variables.get("GIT_CHECKOUT").is_some_and(is_no),
        clean_flags: words("GIT_CLEAN_FLAGS", "-ffdx"),
        fetch_flags: words("GIT_FETCH_EXTRA_FLAGS", "--prune --quiet"),
        submodules: submodules(variables)?,
        ca_pem: settings.tls_ca_pem.clone(),
        attempts: attempts(variables, "GET_SOURCES_ATTEMPTS"),
        environment: environment(variables),
        before: hooks
            .then(|| before(job, settings, variables, place))
            .flatten(),
        after: hooks
            .then(|| after(job, settings, variables, place))
            .flatten(),
    })
}

fn strategy(job: &JobPayload, variables: &Variables) -> Result<Strategy, ExecutorError> {
    match variables.get("GIT_STRATEGY").map(str::trim) {
        None | Some("") => Ok(if job.allow_git_fetch {
            Strategy::Fetch
        } else {
            Strategy::Clone
        }),
        Some("clone") => Ok(Strategy::Clone),
        Some("fetch") => Ok(Strategy::Fetch),
        Some("none") => Ok(Strategy::None),
        Some("empty") => Ok(Strategy::Empty),
        Some(other) => Err(ExecutorError::Payload(format!(
            "GIT_STRATEGY is {other:?}; it can be clone, fetch, none or empty"
        ))),
    }
}

/// The repository's URL without its password, and the password.
fn repository(
    job: &JobPayload,
    settings: &RunnerSettings,
    strategy: Strategy,
) -> Result<(String, Option<Login>), ExecutorError> {
    if matches!(strategy, Strategy::None | Strategy::Empty) {
        return Ok((String::new(), None));
    }
    // The error must not contain the URL, which includes the job's token.
    let broken = || ExecutorError::Payload("the repository's URL is no URL".into());
    let mut url = Url::parse(&job.git_info.repo_url).map_err(|_| broken())?;
    let user = Some(url.username())
        .filter(|user| !user.is_empty())
        .unwrap_or("gitlab-ci-token");
    let password = url.password().unwrap_or(job.token.expose());
    let (user, password) = (user.to_owned(), password.to_owned());
    url.set_username("").map_err(|()| broken())?;
    url.set_password(None).map_err(|()| broken())?;
    if let Some(base) = &settings.runner.clone_url {
        let base = Url::parse(base).map_err(|_| {
            ExecutorError::Payload(format!("the runner's clone_url {base:?} is no URL"))
        })?;
        let path = format!("{}{}", base.path().trim_end_matches('/'), url.path());
        url = base;
        url.set_path(&path);
    }
    if !matches!(url.scheme(), "http" | "https") || password.is_empty() {
        return Ok((url.into(), None));
    }
    let host = url.host_str().ok_or_else(broken)?.to_owned();
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let login = Login {
        plain: format!("{}://{host}{port}/", url.scheme()),
        with_password: format!("{}://{user}:{password}@{host}{port}/", url.scheme()),
        host,
    };
    Ok((url.into(), Some(login)))
}

/// GitLab sends the refspecs; for old servers without them, the usual ones.
fn refspecs(job: &JobPayload) -> Vec<String> {
    let git = &job.git_info;
    if !git.refspecs.is_empty() {
        return git.refspecs.clone();
    }
    let name = &git.r#ref;
    match git.ref_type {
        _ if name.is_empty() => vec!["+refs/heads/*:refs/remotes/origin/*".into()],
        RefType::Tag => vec![format!("+refs/tags/{name}:refs/tags/{name}")],
        RefType::Branch => vec![format!("+refs/heads/{name}:refs/remotes/origin/{name}")],
    }
}

fn submodules(variables: &Variables) -> Result<Option<Submodules>, ExecutorError> {
    let recursive = match variables.get("GIT_SUBMODULE_STRATEGY").map(str::trim) {
        None | Some("" | "none") => return Ok(None),
        Some("normal") => false,
        Some("recursive") => true,
        Some(other) => {
            return Err(ExecutorError::Payload(format!(
                "GIT_SUBMODULE_STRATEGY is {other:?}; it can be none, normal or recursive"
            )));
        }
    };
    let depth = variables
        .get("GIT_SUBMODULE_DEPTH")
        .and_then(|depth| depth.trim().parse().ok());
    Ok(Some(Submodules {
        recursive,
        depth: depth.unwrap_or(0),
        paths: split(variables.get("GIT_SUBMODULE_PATHS").unwrap_or_default()),
        update_flags: split(
            variables
                .get("GIT_SUBMODULE_UPDATE_FLAGS")
                .unwrap_or_default(),
        ),
        force_https: variables.flag("GIT_SUBMODULE_FORCE_HTTPS"),
    }))
}

/// A variable with flags: unset means the default, `none` means no flags.
fn flags(value: Option<&str>, default: &str) -> Vec<String> {
    match value.map(str::trim) {
        None | Some("") => split(default),
        Some("none") => Vec::new(),
        Some(flags) => split(flags),
    }
}

fn split(text: &str) -> Vec<String> {
    shell_words::split(text)
        .unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect())
}

pub(super) fn attempts(variables: &Variables, key: &str) -> u32 {
    variables
        .get(key)
        .and_then(|n| n.trim().parse().ok())
        .unwrap_or(1)
        .clamp(1, 10)
}

/// The job's variables for git, except those that would affect the helper itself.
fn environment(variables: &Variables) -> Vec<(String, String)> {
    let unfit = |key: &str| {
        matches!(key, "PATH" | "HOME" | "SHELL" | "BASH_ENV" | "ENV")
            || key.starts_with("LD_")
            || key.contains(['=', '\0'])
            || key.is_empty()
    };
    variables
        .iter()
        .filter(|variable| !unfit(&variable.key))
        .filter_map(|variable| {
            let value = variables.reference(&variable.key)?;
            (!value.contains('\0')).then(|| (variable.key.clone(), value.into_owned()))
        })
        .collect()
}

/// The script before the check-out: the runner's lines, then the job's.
fn before(
    job: &JobPayload,
    settings: &RunnerSettings,
    variables: &Variables,
    place: &Place,
) -> Option<String> {
    let of_runner = settings.runner.pre_get_sources_script.iter();
    let lines: Vec<String> = of_runner
        .chain(of_job(job, Hook::PRE_GET_SOURCES))
        .cloned()
        .collect();
    let dir = place.builds.to_string_lossy();
    (!lines.is_empty()).then(|| script::hook(variables, &dir, &lines))
}

/// The script after the check-out: the job's lines, then the runner's.
fn after(
    job: &JobPayload,
    settings: &RunnerSettings,
    variables: &Variables,
    place: &Place,
) -> Option<String> {
    let of_runner = &settings.runner.post_get_sources_script;
    let lines: Vec<String> = of_job(job, Hook::POST_GET_SOURCES)
        .iter()
        .chain(of_runner)
        .cloned()
        .collect();
    (!lines.is_empty()).then(|| script::hook(variables, &place.project_dir(), &lines))
}

fn of_job<'a>(job: &'a JobPayload, name: &str) -> &'a [String] {
    job.hook(name).map_or(&[], |hook| &hook.script)
}
