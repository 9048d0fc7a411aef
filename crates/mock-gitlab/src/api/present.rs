//! Projects, pipelines, jobs and runners in the shapes of GitLab's REST API.

use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use crate::model::{Commit, Job, Pipeline, ProjectState, Runner};
use crate::state::State;
use crate::status::Status;
use crate::variable::Variable;
use crate::variables::{job_url, project_url};
use crate::views;

pub(super) fn project(url: &Url, project: &ProjectState) -> Value {
    let address = project_url(url, project);
    json!({
        "id": project.id,
        "name": project.name,
        "path": project.name,
        "path_with_namespace": project.full_path(),
        "default_branch": project.default_branch,
        "visibility": "private",
        "shared_runners_enabled": project.instance_runners,
        "created_at": time(Some(project.created_at)),
        "web_url": address.as_str(),
        "http_url_to_repo": format!("{address}.git"),
    })
}

pub(super) fn pipeline(url: &Url, state: &State, pipeline: &Pipeline) -> Value {
    let address = state
        .projects
        .get(&pipeline.project)
        .map(|project| format!("{}/-/pipelines/{}", project_url(url, project), pipeline.id));
    json!({
        "id": pipeline.id,
        "iid": pipeline.iid,
        "project_id": pipeline.project,
        "sha": pipeline.commit.sha,
        "before_sha": pipeline.before_sha,
        "ref": pipeline.git_ref,
        "tag": pipeline.tag,
        "status": pipeline.status,
        "source": pipeline.source,
        "yaml_errors": pipeline.yaml_error,
        "created_at": time(Some(pipeline.created_at)),
        "started_at": time(pipeline.started_at),
        "finished_at": time(pipeline.finished_at),
        "duration": between(pipeline.started_at, pipeline.finished_at),
        "web_url": address,
    })
}

pub(super) fn job(url: &Url, state: &State, job: &Job) -> Value {
    let pipeline = state.pipelines.get(&job.pipeline);
    let address = state
        .projects
        .get(&job.project)
        .map(|project| job_url(url, project, job));
    let runner = job.runner.and_then(|runner| state.runners.get(&runner));
    let archive = job.artifacts.get("archive");
    let view = views::job(job);
    let takers = || {
        state
            .runners
            .values()
            .any(|runner| state.may_take(runner, job))
    };
    let stuck = job.status == Status::Pending && !takers();
    json!({
        "id": job.id,
        "name": job.spec.name,
        "stage": job.spec.stage,
        "status": job.status,
        "ref": pipeline.map(|pipeline| &pipeline.git_ref),
        "tag": pipeline.map(|pipeline| pipeline.tag),
        "allow_failure": job.failure_is_allowed(),
        "created_at": time(Some(job.created_at)),
        "queued_at": time(job.queued_at),
        "started_at": time(job.started_at),
        "finished_at": time(job.finished_at),
        "duration": between(job.started_at, job.finished_at),
        "queued_duration": between(job.queued_at, job.started_at),
        "failure_reason": job.failure_reason,
        "exit_code": job.exit_code,
        "tag_list": job.spec.tags,
        "stuck": stuck,
        "web_url": address,
        "commit": pipeline.map(|pipeline| commit(&pipeline.commit)),
        "pipeline": pipeline.map(|pipeline| json!({
            "id": pipeline.id,
            "iid": pipeline.iid,
            "project_id": pipeline.project,
            "sha": pipeline.commit.sha,
            "ref": pipeline.git_ref,
            "status": pipeline.status,
        })),
        "runner": runner.map(runner_brief),
        "runner_manager": job.system_id.as_ref().map(|id| json!({ "system_id": id })),
        "artifacts_file": archive
            .map(|file| json!({ "filename": file.filename, "size": file.size })),
        "artifacts": job.artifacts.values().map(|file| json!({
            "file_type": file.kind,
            "file_format": file.format,
            "filename": file.filename,
            "size": file.size,
            "expire_in": file.expire_in,
        })).collect::<Vec<_>>(),
        "worker": view.worker,
        "retried": view.retried,
        "script_starts": view.script_starts,
    })
}

fn commit(commit: &Commit) -> Value {
    json!({
        "id": commit.sha,
        "short_id": commit.sha.get(..8),
        "title": commit.title,
        "message": commit.message,
        "author_name": commit.author_name,
        "author_email": commit.author_email,
        "created_at": commit.timestamp,
    })
}

fn runner_brief(runner: &Runner) -> Value {
    json!({
        "id": runner.id,
        "description": runner.description,
        "active": !runner.paused,
        "paused": runner.paused,
        "is_shared": runner.projects.is_none(),
        "runner_type": if runner.projects.is_none() { "instance_type" } else { "project_type" },
        "online": !runner.managers.is_empty(),
        "status": if runner.managers.is_empty() { "never_contacted" } else { "online" },
    })
}

pub(super) fn runner(runner: &Runner) -> Value {
    let mut all = runner_brief(runner);
    let contacted = runner
        .managers
        .values()
        .map(|manager| manager.contacted_at)
        .max();
    all["contacted_at"] = time(contacted);
    all["tag_list"] = json!(runner.tags);
    all["run_untagged"] = json!(runner.run_untagged);
    all["maximum_timeout"] = json!(runner.maximum_timeout.map(|timeout| timeout.as_secs()));
    all["managers"] = runner
        .managers
        .iter()
        .map(|(system_id, manager)| {
            json!({
                "system_id": system_id,
                "contacted_at": time(Some(manager.contacted_at)),
                "ip_address": manager.address,
                "info": manager.info,
            })
        })
        .collect();
    all
}

pub(super) fn variable(variable: &Variable) -> Value {
    json!({
        "key": variable.key,
        "value": variable.value,
        "variable_type": if variable.file { "file" } else { "env_var" },
        "masked": variable.masked,
        "raw": variable.raw,
        "protected": false,
        "environment_scope": "*",
    })
}

fn time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| {
        time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string().into()
    })
}

fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<f64> {
    Some(to?.duration_since(from?).as_secs_f64())
}
