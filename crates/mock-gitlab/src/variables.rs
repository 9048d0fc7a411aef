//! The variables that GitLab gives a job.
//!
//! Names, order and flags follow `Ci::Build#persisted_variables`, `Gitlab::Ci::Variables::Builder`
//! and `Project#predefined_variables`. The names from before GitLab 9 (`CI_BUILD_…`), which GitLab
//! 17 dropped, are sent too, so that old configurations still run.

use std::sync::LazyLock;

use regex::Regex;
use url::Url;

use crate::ci::When;
use crate::expand::expand;
use crate::model::{Job, Pipeline, ProjectState, Runner};
use crate::variable::Variable;

/// The GitLab version that this server reports.
pub(crate) const VERSION: (u32, u32, u32) = (19, 3, 0);

/// The sources of a job's variables.
pub(crate) struct Sources<'a> {
    pub(crate) url: &'a Url,
    pub(crate) project: &'a ProjectState,
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) job: &'a Job,
    pub(crate) runner: Option<&'a Runner>,
    /// The variables from `dotenv` reports of the jobs whose artifacts it gets.
    pub(crate) reported: &'a [Variable],
}

/// All variables of a job; a later one replaces an earlier one of the same name.
pub(crate) fn of_job(sources: &Sources<'_>) -> Vec<Variable> {
    let mut all = persisted(sources);
    all.extend(job(sources));
    all.extend(server(sources.url));
    all.extend(project(sources));
    all.extend(pipeline(sources.pipeline));
    all.extend(runner(sources.runner));
    all.extend(sources.job.spec.variables.iter().cloned());
    all.extend(user());
    all.extend(sources.reported.iter().cloned());
    all.extend(sources.project.variables.iter().cloned());
    all.extend(sources.pipeline.variables.iter().cloned());
    expand(last_of_each(all))
}

/// The URL a job clones from, with its token.
pub(crate) fn repo_url(url: &Url, project: &ProjectState, token: &str) -> String {
    let mut url = project_url(url, project);
    // This fails only for URLs that cannot have a host; ours have one.
    let _ = url.set_username("gitlab-ci-token");
    let _ = url.set_password(Some(token));
    format!("{url}.git")
}

/// A project's address for people.
pub(crate) fn project_url(url: &Url, project: &ProjectState) -> Url {
    let mut address = url.clone();
    let path = format!(
        "{}/{}",
        url.path().trim_end_matches('/'),
        project.full_path()
    );
    address.set_path(&path);
    address
}

/// A job's address for people.
pub(crate) fn job_url(url: &Url, project: &ProjectState, job: &Job) -> String {
    format!("{}/-/jobs/{}", project_url(url, project), job.id)
}

/// Lowercase, at most 63 characters, everything but letters and digits replaced by dashes: usable
/// in a host name.
pub(crate) fn slug(text: &str) -> String {
    let dashed: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    dashed.trim_matches('-').to_owned()
}

/// The common name of parallel jobs: without `1/2` or `: [linux, x86]` at its end.
fn group_name(name: &str) -> String {
    static NUMBERS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"([\x08\s:]+((\[.*\])|(\d+[\s:/\\]+\d+))){1,3}\s*$").expect("a pattern")
    });
    NUMBERS.replace(name, "").into_owned()
}

fn persisted(sources: &Sources<'_>) -> Vec<Variable> {
    let Sources {
        url,
        project,
        pipeline,
        job,
        ..
    } = sources;
    let address = project_url(url, project);
    let repository = repo_url(url, project, &job.token);
    let started = job.started_at.unwrap_or(job.created_at);
    let not_shown = |key: &str, value: String| Variable {
        public: false,
        ..Variable::public(key, value)
    };
    vec![
        Variable::public("CI_PIPELINE_ID", pipeline.id.to_string()),
        Variable::public(
            "CI_PIPELINE_URL",
            format!("{address}/-/pipelines/{}", pipeline.id),
        ),
        Variable::public("CI_JOB_ID", job.id.to_string()),
        Variable::public("CI_JOB_URL", job_url(url, project, job)),
        Variable::secret("CI_JOB_TOKEN", &job.token),
        Variable::public("CI_JOB_STARTED_AT", seconds(started)),
        Variable::public("CI_BUILD_ID", job.id.to_string()),
        Variable::secret("CI_BUILD_TOKEN", &job.token),
        Variable::public("CI_REGISTRY_USER", "gitlab-ci-token"),
        Variable::secret("CI_REGISTRY_PASSWORD", &job.token),
        not_shown("CI_REPOSITORY_URL", repository.clone()),
        not_shown("CI_BUILD_REPO", repository),
    ]
}

fn job(sources: &Sources<'_>) -> Vec<Variable> {
    let job = sources.job;
    let spec = &job.spec;
    let total = spec.parallel.map_or(1, |(_, total)| total);
    let mut all = vec![
        Variable::public("CI_JOB_NAME", &spec.name),
        Variable::public("CI_JOB_NAME_SLUG", slug(&spec.name)),
        Variable::public("CI_JOB_GROUP_NAME", group_name(&spec.name)),
        Variable::public("CI_JOB_STAGE", &spec.stage),
        Variable::public("CI_BUILD_NAME", &spec.name),
        Variable::public("CI_BUILD_STAGE", &spec.stage),
        Variable::public("CI_JOB_TIMEOUT", job.timeout.as_secs().to_string()),
        Variable::public("CI_NODE_TOTAL", total.to_string()),
    ];
    if let Some((index, _)) = spec.parallel {
        all.push(Variable::public("CI_NODE_INDEX", index.to_string()));
    }
    if spec.when == When::Manual {
        all.push(Variable::public("CI_JOB_MANUAL", "true"));
        all.push(Variable::public("CI_BUILD_MANUAL", "true"));
    }
    if let Some(environment) = &spec.environment {
        all.push(Variable::public("CI_ENVIRONMENT_NAME", &environment.name));
        all.push(Variable::public(
            "CI_ENVIRONMENT_SLUG",
            slug(&environment.name),
        ));
        all.push(Variable::public(
            "CI_ENVIRONMENT_ACTION",
            &environment.action,
        ));
        if let Some(url) = &environment.url {
            all.push(Variable::public("CI_ENVIRONMENT_URL", url));
        }
    }
    all
}

fn server(url: &Url) -> Vec<Variable> {
    let (major, minor, patch) = VERSION;
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let base = url.as_str().trim_end_matches('/');
    let pairs = [
        ("CI", "true".to_owned()),
        ("GITLAB_CI", "true".to_owned()),
        ("CI_SERVER", "yes".to_owned()),
        (
            "CI_SERVER_FQDN",
            url.port()
                .map_or(host.to_owned(), |port| format!("{host}:{port}")),
        ),
        ("CI_SERVER_URL", base.to_owned()),
        ("CI_SERVER_HOST", host.to_owned()),
        ("CI_SERVER_PORT", port.to_string()),
        ("CI_SERVER_PROTOCOL", url.scheme().to_owned()),
        ("CI_SERVER_NAME", "GitLab".to_owned()),
        ("CI_SERVER_VERSION", format!("{major}.{minor}.{patch}")),
        ("CI_SERVER_VERSION_MAJOR", major.to_string()),
        ("CI_SERVER_VERSION_MINOR", minor.to_string()),
        ("CI_SERVER_VERSION_PATCH", patch.to_string()),
        ("CI_SERVER_REVISION", "00000000".to_owned()),
        ("GITLAB_FEATURES", String::new()),
        ("CI_API_V4_URL", format!("{base}/api/v4")),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| Variable::public(key, value))
        .collect()
}

fn project(sources: &Sources<'_>) -> Vec<Variable> {
    let project = sources.project;
    let path = project.full_path();
    let root = project.namespace.split('/').next().unwrap_or_default();
    let pairs = [
        ("CI_PROJECT_ID", project.id.to_string()),
        ("CI_PROJECT_NAME", project.name.clone()),
        ("CI_PROJECT_TITLE", project.name.clone()),
        ("CI_PROJECT_DESCRIPTION", String::new()),
        ("CI_PROJECT_PATH", path.clone()),
        ("CI_PROJECT_PATH_SLUG", slug(&path)),
        ("CI_PROJECT_NAMESPACE", project.namespace.clone()),
        ("CI_PROJECT_ROOT_NAMESPACE", root.to_owned()),
        (
            "CI_PROJECT_URL",
            project_url(sources.url, project).to_string(),
        ),
        ("CI_PROJECT_VISIBILITY", "private".to_owned()),
        ("CI_PROJECT_REPOSITORY_LANGUAGES", String::new()),
        ("CI_DEFAULT_BRANCH", project.default_branch.clone()),
        ("CI_CONFIG_PATH", ".gitlab-ci.yml".to_owned()),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| Variable::public(key, value))
        .collect()
}

fn pipeline(pipeline: &Pipeline) -> Vec<Variable> {
    let commit = &pipeline.commit;
    let short = commit.sha.get(..8).unwrap_or(&commit.sha);
    let description = commit
        .message
        .split_once("\n\n")
        .map_or("", |(_, rest)| rest);
    let author = format!("{} <{}>", commit.author_name, commit.author_email);
    let mut pairs = vec![
        ("CI_PIPELINE_IID", pipeline.iid.to_string()),
        ("CI_PIPELINE_SOURCE", pipeline.source.clone()),
        ("CI_PIPELINE_CREATED_AT", seconds(pipeline.created_at)),
        ("CI_COMMIT_SHA", commit.sha.clone()),
        ("CI_COMMIT_SHORT_SHA", short.to_owned()),
        ("CI_COMMIT_BEFORE_SHA", pipeline.before_sha.clone()),
        ("CI_COMMIT_REF_NAME", pipeline.git_ref.clone()),
        ("CI_COMMIT_REF_SLUG", slug(&pipeline.git_ref)),
        ("CI_COMMIT_MESSAGE", commit.message.clone()),
        ("CI_COMMIT_TITLE", commit.title.clone()),
        ("CI_COMMIT_DESCRIPTION", description.to_owned()),
        ("CI_COMMIT_REF_PROTECTED", "true".to_owned()),
        ("CI_COMMIT_TIMESTAMP", commit.timestamp.clone()),
        ("CI_COMMIT_AUTHOR", author),
        ("CI_BUILD_REF", commit.sha.clone()),
        ("CI_BUILD_BEFORE_SHA", pipeline.before_sha.clone()),
        ("CI_BUILD_REF_NAME", pipeline.git_ref.clone()),
        ("CI_BUILD_REF_SLUG", slug(&pipeline.git_ref)),
    ];
    let names: &[&str] = if pipeline.tag {
        &["CI_COMMIT_TAG", "CI_BUILD_TAG"]
    } else {
        &["CI_COMMIT_BRANCH"]
    };
    pairs.extend(names.iter().map(|name| (*name, pipeline.git_ref.clone())));
    pairs
        .into_iter()
        .map(|(key, value)| Variable::public(key, value))
        .collect()
}

fn runner(runner: Option<&Runner>) -> Vec<Variable> {
    let Some(runner) = runner else {
        return Vec::new();
    };
    let tags: Vec<&str> = runner.tags.iter().map(String::as_str).collect();
    vec![
        Variable::public("CI_RUNNER_ID", runner.id.to_string()),
        Variable::public("CI_RUNNER_DESCRIPTION", &runner.description),
        Variable::public("CI_RUNNER_TAGS", serde_json::Value::from(tags).to_string()),
    ]
}

fn user() -> Vec<Variable> {
    vec![
        Variable::public("GITLAB_USER_ID", "1"),
        Variable::public("GITLAB_USER_EMAIL", "root@example.com"),
        Variable::public("GITLAB_USER_LOGIN", "root"),
        Variable::public("GITLAB_USER_NAME", "Root"),
    ]
}

/// ISO 8601 with seconds, in GitLab's form.
fn seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn last_of_each(all: Vec<Variable>) -> Vec<Variable> {
    let mut kept: Vec<Variable> = Vec::new();
    for variable in all {
        match kept.iter_mut().find(|other| other.key == variable.key) {
            Some(earlier) => *earlier = variable,
            None => kept.push(variable),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_one_group_have_its_name() {
        for (name, group) in [
            ("test 1/2", "test"),
            ("test: [linux, x86]", "test"),
            ("test:a 1/3: [x]", "test:a"),
            ("test", "test"),
            ("test 1", "test 1"),
        ] {
            assert_eq!(group_name(name), group);
        }
    }

    #[test]
    fn slugs_fit_a_host_name() {
        assert_eq!(slug("Feature/Do_it!"), "feature-do-it");
        assert_eq!(slug(&"x".repeat(80)).len(), 63);
    }
}
