//! What a job means, worked out before anything is done: folders, variables, scripts, requests to
//! the helper. Pure: the same payload and settings give the same plan.

pub(crate) mod image;
pub(crate) mod script;
mod sources;
mod storage;
mod variables;

use onspot_gitlab::job::{JobPayload, Step};
use onspot_gitlab::{Variable, Variables};

pub(crate) use self::storage::{CachePlan, UploadPlan};
use crate::error::ExecutorError;
use crate::helper::request::{DownloadArtifacts, Place, Sources};
use crate::settings::RunnerSettings;

/// Where a job finds itself.
#[derive(Debug, Clone)]
pub(crate) struct Site<'a> {
    /// `docker` or `shell`.
    pub(crate) executor: &'static str,
    /// The folder of all builds: `/builds`.
    pub(crate) builds_dir: &'a str,
    /// The slot, counted from 0.
    pub(crate) slot: usize,
    /// Whether jobs may run as other users than the helper.
    pub(crate) world_writable: bool,
}

/// Everything a job's run consists of.
#[derive(Debug)]
pub(crate) struct JobPlan {
    /// All variables with their final values.
    pub(crate) variables: Variables,
    /// Where its files are, for the helper.
    pub(crate) place: Place,
    /// The repository.
    pub(crate) sources: Sources,
    /// The caches, in the job's order.
    pub(crate) caches: Vec<CachePlan>,
    /// Artifacts of earlier jobs.
    pub(crate) downloads: DownloadArtifacts,
    /// `before_script` and `script`, ready for a shell's standard input.
    pub(crate) script: String,
    /// What to upload.
    pub(crate) uploads: Vec<UploadPlan>,
    after_script: Vec<String>,
}

impl JobPlan {
    /// Works out a job.
    pub(crate) fn new(
        job: &JobPayload,
        settings: &RunnerSettings,
        site: &Site<'_>,
    ) -> Result<Self, ExecutorError> {
        let project = variables::project_path(job)?;
        let variables = variables::all(job, settings, site, &project);
        let place = Place {
            builds: site.builds_dir.into(),
            project,
            world_writable: site.world_writable,
        };
        let steps = job.step(Step::SCRIPT).map_or(&[][..], |step| &step.script);
        let lines = settings
            .pre_build_script
            .iter()
            .chain(steps)
            .chain(&settings.post_build_script)
            .cloned()
            .collect::<Vec<_>>();
        Ok(Self {
            sources: sources::plan(job, settings, &variables, &place)?,
            caches: storage::caches(job, &variables),
            downloads: storage::downloads(job, settings, &variables),
            uploads: storage::uploads(job, settings, &variables),
            script: script::shell(&variables, &place, &lines),
            after_script: job
                .step(Step::AFTER_SCRIPT)
                .map(|step| step.script.clone())
                .unwrap_or_default(),
            variables,
            place,
        })
    }

    /// `after_script` for a shell's standard input, if the job has one. `status` is what
    /// `CI_JOB_STATUS` says: `success`, `failed` or `canceled`.
    pub(crate) fn after_script(&self, status: &str) -> Option<String> {
        if self.after_script.is_empty() {
            return None;
        }
        let mut variables = self.variables.clone();
        variables.set(Variable::public("CI_JOB_STATUS", status));
        Some(script::shell(&variables, &self.place, &self.after_script))
    }

    /// A limit set by a variable such as `RUNNER_SCRIPT_TIMEOUT` (`1h 30m`), if it is one.
    pub(crate) fn limit(&self, variable: &str) -> Option<std::time::Duration> {
        let text = self.variables.get(variable)?;
        humantime::parse_duration(text.trim())
            .ok()
            .filter(|limit| !limit.is_zero())
    }
}

#[cfg(test)]
mod tests;
