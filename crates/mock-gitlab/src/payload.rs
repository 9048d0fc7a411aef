//! A job's payload: the answer to `POST jobs/request`.
//!
//! Fields and their order are those of `lib/api/entities/ci/job_request` in GitLab; missing values
//! are null, as there.

use serde_json::{Value, json};
use url::Url;

use crate::ci::{ArtifactSpec, CacheKey, CacheSpec, ImageSpec};
use crate::ids::JobId;
use crate::model::{Job, Pipeline, ProjectState};
use crate::state::State;
use crate::variable::Variable;
use crate::variables::{self, Sources};

/// How many commits a job fetches: the default of a GitLab project.
const GIT_DEPTH: u64 = 20;

/// The failure reasons of this server, for `features.failure_reasons`.
const FAILURE_REASONS: [&str; 13] = [
    "unknown_failure",
    "script_failure",
    "api_failure",
    "stuck_or_timeout_failure",
    "runner_system_failure",
    "job_execution_timeout",
    "image_pull_failure",
    "runner_unsupported",
    "runner_interrupted",
    "runner_configuration_error",
    "runner_external_dependency_failure",
    "job_router_failure",
    "trace_size_exceeded",
];

/// Build the payload of a job just assigned; `None` if data is missing.
pub(crate) fn build(state: &State, url: &Url, id: JobId) -> Option<(Value, Vec<Variable>)> {
    let job = state.jobs.get(&id)?;
    let project = state.projects.get(&job.project)?;
    let pipeline = state.pipelines.get(&job.pipeline)?;
    let runner = job.runner.and_then(|runner| state.runners.get(&runner));
    let dependencies = state.dependencies(job);
    let reported: Vec<Variable> = dependencies
        .iter()
        .flat_map(|other| other.reported_variables.iter().cloned())
        .collect();
    let variables = variables::of_job(&Sources {
        url,
        project,
        pipeline,
        job,
        runner,
        reported: &reported,
    });
    let git_depth = variables
        .iter()
        .find(|variable| variable.key == "GIT_DEPTH")
        .and_then(|variable| variable.value.parse().ok())
        .unwrap_or(GIT_DEPTH);
    let payload = json!({
        "id": job.id,
        "token": job.token,
        "allow_git_fetch": true,
        "job_info": job_info(job, project),
        "git_info": git_info(url, project, pipeline, job, git_depth),
        "runner_info": { "timeout": job.timeout.as_secs(), "runner_session_url": null },
        "inputs": [],
        "variables": variables.iter().map(variable).collect::<Vec<_>>(),
        "steps": steps(job),
        "image": job.spec.image.as_ref().map(image),
        "services": job.spec.services.iter().map(service).collect::<Vec<_>>(),
        "artifacts": artifacts(job.spec.artifacts.as_ref()),
        "cache": job.spec.caches.iter().map(cache).collect::<Vec<_>>(),
        "credentials": [],
        "features": {
            "trace_sections": true,
            "token_mask_prefixes": ["glpat-", "gloas-", "gldt-", "glrt-", "glcbt-", "glptt-"],
            "failure_reasons": FAILURE_REASONS,
        },
        "dependencies": dependencies.into_iter()
            .map(|other| dependency(other, job)).collect::<Vec<_>>(),
        "hooks": job.spec.hooks.iter()
            .map(|(name, script)| json!({ "name": name, "script": script })).collect::<Vec<_>>(),
    });
    Some((payload, variables))
}

fn job_info(job: &Job, project: &ProjectState) -> Value {
    let queued = job.queued_at.zip(job.started_at);
    json!({
        "id": job.id,
        "name": job.spec.name,
        "stage": job.spec.stage,
        "pipeline_id": job.pipeline,
        "project_id": project.id,
        "project_name": project.name,
        "project_full_path": project.full_path(),
        "namespace_id": 1,
        "root_namespace_id": 1,
        "organization_id": 1,
        "instance_id": "mock",
        "instance_uuid": "00000000-0000-0000-0000-000000000000",
        "user_id": 1,
        "scoped_user_id": null,
        "time_in_queue_seconds":
            queued.map_or(0.0, |(from, to)| to.duration_since(from).as_secs_f64()),
        "project_jobs_running_on_instance_runners_count": "0",
        "queue_size": 1,
        "queue_depth": 1,
    })
}

fn git_info(
    url: &Url,
    project: &ProjectState,
    pipeline: &Pipeline,
    job: &Job,
    depth: u64,
) -> Value {
    json!({
        "repo_url": variables::repo_url(url, project, &job.token),
        "ref": pipeline.git_ref,
        "sha": pipeline.commit.sha,
        "before_sha": pipeline.before_sha,
        "ref_type": if pipeline.tag { "tag" } else { "branch" },
        "refspecs": refspecs(pipeline, depth),
        "depth": depth,
        "repo_object_format": project.object_format,
        "protected": true,
    })
}

fn refspecs(pipeline: &Pipeline, depth: u64) -> Vec<String> {
    let (id, git_ref) = (pipeline.id, &pipeline.git_ref);
    let persistent = format!("+refs/pipelines/{id}:refs/pipelines/{id}");
    let branch = |name: &str| format!("+refs/heads/{name}:refs/remotes/origin/{name}");
    let tags = |name: &str| format!("+refs/tags/{name}:refs/tags/{name}");
    match (depth, pipeline.tag) {
        (0, _) => vec![persistent, branch("*"), tags("*")],
        (_, true) => vec![persistent, tags(git_ref)],
        (_, false) => vec![persistent, branch(git_ref)],
    }
}

/// `file` and `raw` only when they are set, as GitLab sends them.
fn variable(variable: &Variable) -> Value {
    let mut fields = json!({
        "key": variable.key,
        "value": variable.value,
        "public": variable.public,
        "masked": variable.masked,
    });
    for (name, flag) in [("file", variable.file), ("raw", variable.raw)] {
        if flag {
            fields[name] = true.into();
        }
    }
    fields
}

fn steps(job: &Job) -> Vec<Value> {
    let timeout = job.timeout.as_secs();
    let mut steps = vec![json!({
        "name": "script",
        "script": job.spec.script,
        "timeout": timeout,
        "when": "on_success",
        "allow_failure": false,
    })];
    if !job.spec.after_script.is_empty() {
        steps.push(json!({
            "name": "after_script",
            "script": job.spec.after_script,
            "timeout": timeout,
            "when": "always",
            "allow_failure": true,
        }));
    }
    steps
}

fn image(spec: &ImageSpec) -> Value {
    json!({
        "name": spec.name,
        "entrypoint": spec.entrypoint,
        "executor_opts": spec.executor_opts,
        "ports": [],
        "pull_policy": spec.pull_policy,
    })
}

fn service(spec: &ImageSpec) -> Value {
    let mut service = image(spec);
    service["alias"] = json!(spec.alias);
    service["command"] = json!(spec.command);
    service["variables"] = spec
        .variables
        .iter()
        .map(|v| json!({ "key": v.key, "value": v.value }))
        .collect();
    service
}

fn cache(spec: &CacheSpec) -> Value {
    let CacheKey::Plain(key) = &spec.key else {
        return Value::Null;
    };
    json!({
        "key": key,
        "untracked": spec.untracked,
        "paths": spec.paths,
        "policy": spec.policy,
        "when": spec.when,
        "fallback_keys": spec.fallback_keys,
    })
}

fn artifacts(spec: Option<&ArtifactSpec>) -> Value {
    let Some(spec) = spec else {
        return Value::Null;
    };
    let mut list = Vec::new();
    if spec.paths.is_some() || spec.untracked.is_some() {
        list.push(json!({
            "name": spec.name,
            "untracked": spec.untracked,
            "paths": spec.paths,
            "exclude": spec.exclude,
            "when": spec.when,
            "expire_in": spec.expire_in,
            "artifact_type": "archive",
            "artifact_format": "zip",
        }));
    }
    for (report, paths) in &spec.reports {
        list.push(json!({
            "name": report.file,
            "paths": paths,
            "when": "always",
            "expire_in": spec.expire_in,
            "artifact_type": report.kind,
            "artifact_format": report.format,
        }));
    }
    Value::Array(list)
}

fn dependency(other: &Job, job: &Job) -> Value {
    let mut dependency = json!({ "id": other.id, "name": other.spec.name, "token": job.token });
    if let Some(archive) = other.artifacts.get("archive") {
        dependency["artifacts_file"] =
            json!({ "filename": archive.filename, "size": archive.size });
    }
    dependency
}
