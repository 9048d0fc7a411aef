//! Projects, pipelines, jobs and runners as stored by the server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::ci::{AutoCancel, JobSpec};
use crate::ids::{JobId, PipelineId, ProjectId, RunnerId};
use crate::record::JobCall;
use crate::status::Status;
use crate::variable::Variable;

/// A project: a repository, and the pipelines made from it.
#[derive(Debug, Clone)]
pub(crate) struct ProjectState {
    pub(crate) id: ProjectId,
    /// Path of the namespace, e.g. `root` or `group/sub`.
    pub(crate) namespace: String,
    /// Last part of the path.
    pub(crate) name: String,
    pub(crate) default_branch: String,
    /// A project access token, for pushing and for the project's API.
    pub(crate) token: String,
    pub(crate) variables: Vec<Variable>,
    /// Instance runners may take its jobs too.
    pub(crate) instance_runners: bool,
    /// The hash function of its repository: `sha1` or `sha256`.
    pub(crate) object_format: &'static str,
    /// The other projects whose jobs may read it (its allowlist of job tokens).
    pub(crate) job_token_allowlist: BTreeSet<ProjectId>,
    pub(crate) created_at: Timestamp,
    /// Held while a push changes refs, so that pushes do not overlap.
    pub(crate) pushing: Arc<tokio::sync::Mutex<()>>,
}

impl ProjectState {
    pub(crate) fn full_path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The commit of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Commit {
    pub(crate) sha: String,
    pub(crate) title: String,
    pub(crate) message: String,
    pub(crate) author_name: String,
    pub(crate) author_email: String,
    /// ISO 8601.
    pub(crate) timestamp: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) id: PipelineId,
    /// Number within the project, from 1.
    pub(crate) iid: u64,
    pub(crate) project: ProjectId,
    pub(crate) commit: Commit,
    pub(crate) before_sha: String,
    /// Name of the branch or tag.
    pub(crate) git_ref: String,
    pub(crate) tag: bool,
    /// `push`, `web`, `api`.
    pub(crate) source: String,
    pub(crate) stages: Vec<String>,
    /// All its jobs in order, including retried ones.
    pub(crate) jobs: Vec<JobId>,
    /// When it is cancelled automatically.
    pub(crate) auto_cancel: AutoCancel,
    /// Why the configuration is invalid.
    pub(crate) yaml_error: Option<String>,
    /// Variables given when the pipeline was started.
    pub(crate) variables: Vec<Variable>,
    /// Kept up to date by `state::progress`.
    pub(crate) status: Status,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
}

/// A stored artifact file.
#[derive(Debug, Clone)]
pub(crate) struct Artifact {
    /// `archive`, or a report's type.
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) filename: String,
    pub(crate) size: u64,
    pub(crate) path: PathBuf,
    pub(crate) expire_in: Option<String>,
}

/// The result that a runner reported and the server accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) state: String,
    pub(crate) failure_reason: Option<String>,
    pub(crate) exit_code: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) project: ProjectId,
    pub(crate) pipeline: PipelineId,
    pub(crate) spec: Arc<JobSpec>,
    /// Position of its stage in the pipeline.
    pub(crate) stage_index: usize,
    pub(crate) status: Status,
    pub(crate) token: String,
    pub(crate) created_at: Timestamp,
    /// When it became pending.
    pub(crate) queued_at: Option<Timestamp>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) failure_reason: Option<String>,
    pub(crate) exit_code: Option<i64>,
    /// Once it has started, the shorter of the job's and the runner's.
    pub(crate) timeout: Duration,
    pub(crate) runner: Option<RunnerId>,
    /// The machine of the runner that got it.
    pub(crate) system_id: Option<String>,
    /// Whether that machine can end a cancelled job gracefully.
    pub(crate) cancel_gracefully: bool,
    /// The name of the machine that last wrote to it, else its address.
    pub(crate) worker: Option<String>,
    pub(crate) trace: Vec<u8>,
    /// Whether the runner may send the trace again from its beginning, after a 412.
    pub(crate) resend_allowed: bool,
    pub(crate) artifacts: BTreeMap<String, Artifact>,
    /// The variables of its `dotenv` report.
    pub(crate) reported_variables: Vec<Variable>,
    /// A newer job of the same name has replaced it.
    pub(crate) retried: bool,
    pub(crate) reported: Option<Reported>,
    /// How many more final reports get 202 before 200.
    pub(crate) accepts_left: u32,
    pub(crate) calls: Vec<JobCall>,
    /// Values that the trace must not show.
    pub(crate) secrets: Vec<String>,
}

impl Job {
    /// Whether its failure does not fail the pipeline.
    pub(crate) fn failure_is_allowed(&self) -> bool {
        self.spec.allow_failure.covers(self.exit_code)
    }

    /// Put it into its final state.
    pub(crate) fn finish(&mut self, status: Status, now: Timestamp) {
        self.status = status;
        self.finished_at = Some(now);
    }
}

/// A machine that uses a runner's token.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Manager {
    /// Its last description of itself: name, version, platform, features ….
    pub(crate) info: Value,
    pub(crate) contacted_at: Timestamp,
    pub(crate) address: String,
}

impl Manager {
    /// Whether it announced `features.cancel_gracefully`.
    pub(crate) fn cancels_gracefully(&self) -> bool {
        self.info
            .pointer("/features/cancel_gracefully")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) id: RunnerId,
    pub(crate) token: String,
    pub(crate) description: String,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) run_untagged: bool,
    pub(crate) maximum_timeout: Option<Duration>,
    pub(crate) paused: bool,
    /// For a project runner: the projects whose jobs it takes.
    pub(crate) projects: Option<BTreeSet<ProjectId>>,
    pub(crate) managers: BTreeMap<String, Manager>,
}

impl Runner {
    /// May it get this job of this project?
    pub(crate) fn takes(&self, job: &Job, project: &ProjectState) -> bool {
        let tags = &job.spec.tags;
        !self.paused
            && tags.iter().all(|tag| self.tags.contains(tag))
            && (self.run_untagged || !tags.is_empty())
            && match &self.projects {
                Some(these) => these.contains(&project.id),
                None => project.instance_runners,
            }
    }
}
