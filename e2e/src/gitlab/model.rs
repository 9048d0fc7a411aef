//! Projects, pipelines, jobs and runners as the server keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ci::{AutoCancel, JobSpec};
use super::ids::{JobId, PipelineId, ProjectId, RunnerId};
use super::record::Told;
use super::status::Status;

/// A CI/CD variable, with the flags that GitLab sends along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Everybody may see it.
    #[serde(default)]
    pub public: bool,
    /// It must not be seen in a trace.
    #[serde(default)]
    pub masked: bool,
    /// The job gets a file with the value, and its path in the variable.
    #[serde(default)]
    pub file: bool,
    /// References in the value are not expanded.
    #[serde(default)]
    pub raw: bool,
}

impl Variable {
    /// A variable that everybody may see.
    pub fn public(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            public: true,
            masked: false,
            file: false,
            raw: false,
        }
    }

    /// A variable that is not shown and is masked in traces.
    pub fn secret(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            public: false,
            masked: true,
            ..Self::public(key, value)
        }
    }
}

/// A project: a repository, and the pipelines made from it.
#[derive(Debug, Clone)]
pub(super) struct ProjectState {
    pub(super) id: ProjectId,
    /// Path of the namespace, e.g. `root` or `group/sub`.
    pub(super) namespace: String,
    /// Last part of the path.
    pub(super) name: String,
    pub(super) default_branch: String,
    /// A project access token: may push, and call the API for this project.
    pub(super) token: String,
    pub(super) variables: Vec<Variable>,
    /// Runners that are nobody's own may take its jobs too.
    pub(super) instance_runners: bool,
    pub(super) created_at: Timestamp,
    /// Taken while a push changes refs, so that two pushes don't mix.
    pub(super) pushing: Arc<tokio::sync::Mutex<()>>,
}

impl ProjectState {
    pub(super) fn full_path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The commit a pipeline was made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Commit {
    pub(super) sha: String,
    pub(super) title: String,
    pub(super) message: String,
    pub(super) author_name: String,
    pub(super) author_email: String,
    /// ISO 8601.
    pub(super) timestamp: String,
}

#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) id: PipelineId,
    /// Number within the project, from 1.
    pub(super) iid: u64,
    pub(super) project: ProjectId,
    pub(super) commit: Commit,
    pub(super) before_sha: String,
    /// Name of the branch or tag.
    pub(super) git_ref: String,
    pub(super) tag: bool,
    /// `push`, `web`, `api`.
    pub(super) source: String,
    pub(super) stages: Vec<String>,
    /// All jobs ever made for it, retried ones included, in order.
    pub(super) jobs: Vec<JobId>,
    /// When it is cancelled without a person.
    pub(super) auto_cancel: AutoCancel,
    /// Why the configuration could not be used.
    pub(super) yaml_error: Option<String>,
    /// Variables given when the pipeline was started.
    pub(super) variables: Vec<Variable>,
    /// Kept current by the lifecycle.
    pub(super) status: Status,
    pub(super) created_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
}

/// A stored artifact file.
#[derive(Debug, Clone)]
pub(super) struct Artifact {
    /// `archive`, or a report's type.
    pub(super) kind: String,
    pub(super) format: String,
    pub(super) filename: String,
    pub(super) size: u64,
    pub(super) path: PathBuf,
    pub(super) expire_in: Option<String>,
}

/// The result that a runner reported and the server accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) state: String,
    pub(super) failure_reason: Option<String>,
    pub(super) exit_code: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) project: ProjectId,
    pub(super) pipeline: PipelineId,
    pub(super) spec: Arc<JobSpec>,
    /// Position of its stage in the pipeline.
    pub(super) stage_index: usize,
    pub(super) status: Status,
    pub(super) token: String,
    pub(super) created_at: Timestamp,
    /// When it became pending.
    pub(super) queued_at: Option<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) failure_reason: Option<String>,
    pub(super) exit_code: Option<i64>,
    /// In force since the job started: the shorter one of the job's and the runner's.
    pub(super) timeout: Duration,
    pub(super) runner: Option<RunnerId>,
    /// The runner machine it was handed to.
    pub(super) system_id: Option<String>,
    /// The runner machine can end a cancelled job gracefully.
    pub(super) cancel_gracefully: bool,
    /// What the last caller that wrote to it calls itself, else its address.
    pub(super) worker: Option<String>,
    pub(super) trace: Vec<u8>,
    /// After a 412 the runner may send the trace again from its beginning.
    pub(super) resend_allowed: bool,
    pub(super) artifacts: BTreeMap<String, Artifact>,
    /// What it reported as `dotenv`.
    pub(super) reported_variables: Vec<Variable>,
    /// A newer job of the same name has taken its place.
    pub(super) retried: bool,
    pub(super) reported: Option<Reported>,
    /// How often the final report still gets 202 before it gets 200.
    pub(super) accepts_left: u32,
    pub(super) told: Vec<Told>,
    /// Values that the trace must not show.
    pub(super) secrets: Vec<String>,
}

impl Job {
    /// Its failure does not fail the pipeline.
    pub(super) fn failure_is_allowed(&self) -> bool {
        self.spec.allow_failure.covers(self.exit_code)
    }

    /// Ended with a result of its own, or was taken off.
    pub(super) fn finish(&mut self, status: Status, now: Timestamp) {
        self.status = status;
        self.finished_at = Some(now);
    }
}

/// One machine that uses a runner's token.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Manager {
    /// What it last said about itself: name, version, platform, features ….
    pub(super) info: Value,
    pub(super) contacted_at: Timestamp,
    pub(super) address: String,
}

impl Manager {
    /// It announced `features.cancel_gracefully`.
    pub(super) fn cancels_gracefully(&self) -> bool {
        self.info
            .pointer("/features/cancel_gracefully")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Runner {
    pub(super) id: RunnerId,
    pub(super) token: String,
    pub(super) description: String,
    pub(super) tags: BTreeSet<String>,
    pub(super) run_untagged: bool,
    pub(super) maximum_timeout: Option<Duration>,
    pub(super) paused: bool,
    /// Only these projects' jobs, if given: a project runner.
    pub(super) projects: Option<BTreeSet<ProjectId>>,
    pub(super) managers: BTreeMap<String, Manager>,
}

impl Runner {
    /// May it be given this job of this project?
    pub(super) fn takes(&self, job: &Job, project: &ProjectState) -> bool {
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
