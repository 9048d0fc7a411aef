//! A job as GitLab hands it out.
//!
//! Every field has a default, `null` counts as absent and unknown fields are ignored: GitLab adds
//! fields with each release and leaves others empty. The unchanged payload is kept with the typed
//! view ([`AssignedJob`]), so that nothing is lost on the way to the worker.
//!
//! Source of the fields: `common/spec/spec.go` of GitLab Runner 19.4.

mod demand;
mod git;
mod image;
mod step;
mod storage;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use demand::Demand;
pub use git::{GitInfo, RefType};
pub use image::{DockerOptions, ExecutorOptions, Image};
pub use step::{Hook, Step, When};
pub use storage::{
    ArtifactFormat, ArtifactSpec, ArtifactsFile, CachePolicy, CacheSpec, Credentials, Dependency,
};

use crate::failure::FailureReason;
use crate::null::null_as_default;
use crate::token::{JobId, JobToken};
use crate::variables::{Variable, Variables};
use crate::{Error, error};

/// Everything GitLab says about a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobPayload {
    /// The job's number.
    #[serde(deserialize_with = "null_as_default")]
    pub id: JobId,
    /// Authorises the job's trace, status, artifacts and repository access while it runs.
    #[serde(deserialize_with = "null_as_default")]
    pub token: JobToken,
    /// Whether the job may fetch into the build folder of an earlier job instead of cloning.
    #[serde(deserialize_with = "null_as_default")]
    pub allow_git_fetch: bool,
    /// The job's name and project.
    #[serde(deserialize_with = "null_as_default")]
    pub job_info: JobInfo,
    /// What to check out.
    #[serde(deserialize_with = "null_as_default")]
    pub git_info: GitInfo,
    /// GitLab's settings for the runner, such as the job's time limit.
    #[serde(deserialize_with = "null_as_default")]
    pub runner_info: JobLimits,
    /// The job's variables, in order: a later one of the same name wins.
    #[serde(deserialize_with = "null_as_default")]
    pub variables: Vec<Variable>,
    /// The job's scripts: `script` (with `before_script` in front) and `after_script`.
    #[serde(deserialize_with = "null_as_default")]
    pub steps: Vec<Step>,
    /// The image for the scripts; absent if the job names none.
    #[serde(deserialize_with = "image::nameless_as_none")]
    pub image: Option<Image>,
    /// Service containers of the job.
    #[serde(deserialize_with = "null_as_default")]
    pub services: Vec<Image>,
    /// What to upload after the script.
    #[serde(deserialize_with = "null_as_default")]
    pub artifacts: Vec<ArtifactSpec>,
    /// What to keep between jobs.
    #[serde(deserialize_with = "null_as_default")]
    pub cache: Vec<CacheSpec>,
    /// Logins for registries.
    #[serde(deserialize_with = "null_as_default")]
    pub credentials: Vec<Credentials>,
    /// Jobs whose artifacts this one needs.
    #[serde(deserialize_with = "null_as_default")]
    pub dependencies: Vec<Dependency>,
    /// The features of this GitLab.
    #[serde(deserialize_with = "null_as_default")]
    pub features: GitLabFeatures,
    /// Scripts around the check-out.
    #[serde(deserialize_with = "null_as_default")]
    pub hooks: Vec<Hook>,
    /// Steps of GitLab's step runner, in place of a script.
    pub run: Demand,
    /// Secrets to fetch from a vault before the job begins.
    pub secrets: Demand,
    /// Values for the job's own keywords.
    pub inputs: Demand,
}

impl JobPayload {
    /// The step of that name (`script`, `after_script`), if the job has one.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// The hook of that name, if the job has one.
    pub fn hook(&self, name: &str) -> Option<&Hook> {
        self.hooks.iter().find(|hook| hook.name == name)
    }

    /// Whether the job runs for a protected branch or tag. GitLab sends this since 18.3; before,
    /// only a variable tells. A job cannot gain anything by setting that variable itself, because a
    /// single "no" counts.
    pub fn is_protected(&self) -> bool {
        let said = || {
            let of_ref = |variable: &&Variable| variable.key == "CI_COMMIT_REF_PROTECTED";
            let mut values = self.variables.iter().filter(of_ref).peekable();
            values.peek().is_some() && values.all(|variable| variable.value == "true")
        };
        self.git_info.protected.unwrap_or_else(said)
    }

    /// All values that the trace must not show: masked variables, the job's token, registry
    /// passwords, and the tokens of the jobs it depends on.
    pub fn mask_values(&self) -> Vec<String> {
        let mut values = Variables::of(self).mask_values();
        values.push(self.token.expose().to_owned());
        values.extend(
            self.credentials
                .iter()
                .map(|c| c.password.expose().to_owned()),
        );
        values.extend(
            self.dependencies
                .iter()
                .map(|d| d.token.expose().to_owned()),
        );
        values.retain(|value| !value.is_empty());
        values.sort_unstable();
        values.dedup();
        values
    }
}

impl Variables {
    /// The job's own variables.
    pub fn of(job: &JobPayload) -> Self {
        Self::resolve(job.variables.iter().cloned())
    }
}

/// A job's name and project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobInfo {
    /// The job's name in `.gitlab-ci.yml`.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// The stage it belongs to.
    #[serde(deserialize_with = "null_as_default")]
    pub stage: String,
    /// The pipeline's number.
    #[serde(deserialize_with = "null_as_default")]
    pub pipeline_id: u64,
    /// The project's number.
    #[serde(deserialize_with = "null_as_default")]
    pub project_id: u64,
    /// The project's name, without its groups.
    #[serde(deserialize_with = "null_as_default")]
    pub project_name: String,
    /// The project's path, with its groups.
    #[serde(deserialize_with = "null_as_default")]
    pub project_full_path: String,
    /// Seconds between the job's creation and its assignment.
    #[serde(deserialize_with = "null_as_default")]
    pub time_in_queue_seconds: f64,
}

/// GitLab's settings for the runner in a job (`runner_info`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobLimits {
    /// The runner's name for itself; empty in today's GitLab.
    #[serde(deserialize_with = "null_as_default")]
    pub uuid: String,
    /// The job's time limit in seconds, the smaller one of project and runner; 0 if GitLab sends
    /// none.
    #[serde(deserialize_with = "null_as_default")]
    pub timeout: u64,
}

/// The features of this GitLab that matter to a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GitLabFeatures {
    /// Whether GitLab folds the sections of a trace.
    #[serde(deserialize_with = "null_as_default")]
    pub trace_sections: bool,
    /// Prefixes of tokens that must be masked everywhere, such as `glpat-`.
    #[serde(deserialize_with = "null_as_default")]
    pub token_mask_prefixes: Vec<String>,
    /// The failure reasons that GitLab supports; see [`FailureReason::supported_by`].
    #[serde(deserialize_with = "null_as_default")]
    pub failure_reasons: Vec<FailureReason>,
}

/// A job just received: GitLab's unchanged payload and its typed view.
#[derive(Clone, PartialEq)]
pub struct AssignedJob {
    /// The payload as GitLab sent it.
    pub raw: serde_json::Value,
    /// The fields that onspot knows.
    pub job: JobPayload,
}

impl AssignedJob {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`Error::Payload`] if a known field has a wrong type, or if id or token is missing. The
    /// error contains id and token if they could be read: GitLab considers the job taken, so it has
    /// to be ended.
    pub fn parse(raw: serde_json::Value) -> Result<Self, Error> {
        match JobPayload::deserialize(&raw) {
            Ok(job) if job.id.0 != 0 && !job.token.is_empty() => Ok(Self { raw, job }),
            Ok(_) => Err(Error::Payload {
                job: None,
                source: error::missing("id and token"),
            }),
            Err(source) => Err(Error::Payload {
                job: identify(&raw),
                source,
            }),
        }
    }
}

/// The id and token of a job whose payload cannot be read as a whole.
fn identify(raw: &serde_json::Value) -> Option<(JobId, JobToken)> {
    let id = raw.get("id")?.as_u64()?;
    let token = raw.get("token")?.as_str()?;
    Some((JobId(id), JobToken::new(token)))
}

impl fmt::Debug for AssignedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The raw payload contains every secret of the job.
        f.debug_struct("AssignedJob")
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}
