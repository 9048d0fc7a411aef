//! Views of projects, pipelines and jobs for tests.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::ids::{JobId, PipelineId, ProjectId, RunnerId};
use crate::model::{Job, Pipeline, ProjectState};
use crate::state::State;
use crate::status::Status;
use crate::variables::project_url;

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its number.
    pub id: ProjectId,
    /// Its full path, e.g. `root/cowsay`.
    pub path: String,
    /// Where to push to and clone from, without credentials.
    pub http_url: Url,
    /// A token for pushing and for the project's API.
    pub token: String,
}

impl Project {
    /// Where to push to and clone from, with the token in it.
    pub fn url_with_token(&self) -> Url {
        let mut url = self.http_url.clone();
        // This fails only for URLs that cannot have a host; ours have one.
        let _ = url.set_username("oauth2");
        let _ = url.set_password(Some(&self.token));
        url
    }
}

/// A pipeline and its jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineView {
    /// Its number.
    pub id: PipelineId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// The commit it runs for.
    pub sha: String,
    /// Its branch or tag.
    pub git_ref: String,
    /// Its state.
    pub status: Status,
    /// Why the configuration is invalid.
    pub yaml_error: Option<String>,
    /// Its jobs in order, without those replaced by a retry.
    pub jobs: Vec<JobView>,
}

impl PipelineView {
    /// The job with this name.
    pub fn job(&self, name: &str) -> Option<&JobView> {
        self.jobs.iter().find(|job| job.name == name)
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its number.
    pub id: JobId,
    /// The pipeline it belongs to.
    pub pipeline: PipelineId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its name in the configuration.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// Its state.
    pub status: Status,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// The exit code its runner reported.
    pub exit_code: Option<i64>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it became pending.
    pub queued_at: Option<Timestamp>,
    /// When a runner got it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The runner that got it.
    pub runner: Option<RunnerId>,
    /// The machine that requested it.
    pub system_id: Option<String>,
    /// The machine that last wrote to it: its name, else its address.
    pub worker: Option<String>,
    /// Whether a newer job has replaced it.
    pub retried: bool,
    /// Size of its trace in bytes.
    pub trace_size: u64,
    /// How often its trace starts the script (sections `step_script`).
    pub script_starts: usize,
}

impl JobView {
    /// How long it ran, or has been running, in seconds.
    pub fn duration_s(&self) -> Option<f64> {
        let end = self.finished_at.unwrap_or_else(Timestamp::now);
        self.started_at
            .map(|start| end.duration_since(start).as_secs_f64())
    }
}

pub(crate) fn project(url: &Url, project: &ProjectState) -> Project {
    let mut http_url = project_url(url, project);
    let path = format!("{}.git", http_url.path());
    http_url.set_path(&path);
    Project {
        id: project.id,
        path: project.full_path(),
        http_url,
        token: project.token.clone(),
    }
}

pub(crate) fn pipeline(state: &State, pipeline: &Pipeline) -> PipelineView {
    PipelineView {
        id: pipeline.id,
        project: pipeline.project,
        sha: pipeline.commit.sha.clone(),
        git_ref: pipeline.git_ref.clone(),
        status: pipeline.status,
        yaml_error: pipeline.yaml_error.clone(),
        jobs: state
            .latest_jobs(pipeline.id)
            .into_iter()
            .map(job)
            .collect(),
    }
}

pub(crate) fn job(job: &Job) -> JobView {
    JobView {
        id: job.id,
        pipeline: job.pipeline,
        project: job.project,
        name: job.spec.name.clone(),
        stage: job.spec.stage.clone(),
        status: job.status,
        failure_reason: job.failure_reason.clone(),
        exit_code: job.exit_code,
        created_at: job.created_at,
        queued_at: job.queued_at,
        started_at: job.started_at,
        finished_at: job.finished_at,
        runner: job.runner,
        system_id: job.system_id.clone(),
        worker: job.worker.clone(),
        retried: job.retried,
        trace_size: job.trace.len() as u64,
        script_starts: script_starts(&job.trace),
    }
}

/// Counts sections named `step_script`, which runners open right before the script.
fn script_starts(trace: &[u8]) -> usize {
    String::from_utf8_lossy(trace)
        .split("section_start:")
        .skip(1)
        .filter(|rest| {
            let name = rest.split_once(':').map_or("", |(_, name)| name);
            name.starts_with("step_script")
        })
        .count()
}
