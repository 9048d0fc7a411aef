//! The plan for getting a job's repository.

mod login;

use onspot_gitlab::Variables;
use onspot_gitlab::job::{Hook, JobPayload, RefType};

use super::choices::Choices;
use super::script;
use crate::error::Error;
use crate::helper::request::{Place, Sources, Strategy, Submodules};
use crate::settings::RunnerSettings;

pub(super) fn plan(
    job: &JobPayload,
    settings: &RunnerSettings,
    choices: &mut Choices<'_>,
    variables: &Variables,
    place: &Place,
) -> Result<Sources, Error> {
    let strategy = strategy(job, choices);
    let depth = choices.number("GIT_DEPTH", job.git_info.depth);
    let (mut url, mut logins, mut wanted) = (String::new(), Vec::new(), None);
    let (mut before_script, mut after_script) = (None, None);
    if strategy.has_repository() {
        (url, logins) = login::repository(job, settings, choices)?;
        wanted = submodules(choices, depth)?;
        // Without a repository there are no hooks around it either.
        before_script = before(job, settings, variables, place);
        after_script = after(job, settings, variables, place);
    }
    Ok(Sources {
        strategy,
        url,
        logins,
        reference: job.git_info.r#ref.clone(),
        sha: job.git_info.sha.clone(),
        protected: job.is_protected(),
        refspecs: refspecs(job),
        depth,
        object_format: Some(job.git_info.repo_object_format.clone())
            .filter(|format| !matches!(format.as_str(), "" | "sha1")),
        checkout: choices.flag("GIT_CHECKOUT", true),
        lfs: !choices.flag("GIT_LFS_SKIP_SMUDGE", false),
        clean_flags: choices.flags("GIT_CLEAN_FLAGS", "-ffdx"),
        fetch_flags: choices.flags("GIT_FETCH_EXTRA_FLAGS", "--prune --quiet"),
        clone_flags: clone_flags(job, choices, strategy),
        submodules: wanted,
        ca_pem: settings.tls_ca_pem.clone(),
        attempts: choices.attempts("GET_SOURCES_ATTEMPTS"),
        environment: environment(variables),
        before: before_script,
        after: after_script,
    })
}

pub(super) fn strategy(job: &JobPayload, choices: &mut Choices<'_>) -> Strategy {
    let words = [
        ("clone", Strategy::Clone),
        ("fetch", Strategy::Fetch),
        ("none", Strategy::None),
        ("empty", Strategy::Empty),
    ];
    let default = if job.allow_git_fetch {
        Strategy::Fetch
    } else {
        Strategy::Clone
    };
    choices.one_of("GIT_STRATEGY", &words, default)
}

/// The flags of `git clone` if that gets the repository instead of `git fetch`. It can only get
/// branches and tags, no other references.
fn clone_flags(
    job: &JobPayload,
    choices: &mut Choices<'_>,
    strategy: Strategy,
) -> Option<Vec<String>> {
    let reference = &job.git_info.r#ref;
    let is_native = strategy == Strategy::Clone
        && choices.flag("FF_USE_GIT_NATIVE_CLONE", false)
        && !reference.is_empty()
        && !reference.starts_with("refs/");
    is_native.then(|| choices.flags("GIT_CLONE_EXTRA_FLAGS", ""))
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

fn submodules(choices: &mut Choices<'_>, depth: u32) -> Result<Option<Submodules>, Error> {
    let recursive = match choices.text("GIT_SUBMODULE_STRATEGY") {
        None | Some("none") => return Ok(None),
        Some("normal") => false,
        Some("recursive") => true,
        Some(other) => {
            return Err(Error::Payload(format!(
                "GIT_SUBMODULE_STRATEGY is {other:?}; it can be none, normal or recursive"
            )));
        }
    };
    let paths = choices.words("GIT_SUBMODULE_PATHS");
    if paths.iter().any(|path| path == ":(exclude)") {
        return Err(Error::Payload(
            "GIT_SUBMODULE_PATHS contains `:(exclude)` without a path; write `:(exclude)path` \
             without a space"
                .into(),
        ));
    }
    Ok(Some(Submodules {
        recursive,
        depth: choices.number("GIT_SUBMODULE_DEPTH", depth),
        paths,
        update_flags: choices.flags("GIT_SUBMODULE_UPDATE_FLAGS", ""),
    }))
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
