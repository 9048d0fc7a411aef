//! Which runner gets which job, and which artifacts come with it.

use std::time::Duration;

use jiff::Timestamp;

use super::store::State;
use crate::ids::{JobId, RunnerId};
use crate::model::{Job, Manager};
use crate::record::{Caller, JobCallKind};
use crate::status::Status;

impl State {
    /// Give the oldest job that the runner may take to one of its machines.
    pub(crate) fn assign(
        &mut self,
        runner: RunnerId,
        system_id: Option<&str>,
        caller: &Caller,
        now: Timestamp,
    ) -> Option<JobId> {
        let runner = self.runners.get(&runner)?;
        let manager = runner.managers.get(system_id.unwrap_or_default());
        let cancel_gracefully = manager.is_some_and(Manager::cancels_gracefully);
        let maximum = runner.maximum_timeout.unwrap_or(Duration::MAX);
        let runner_id = runner.id;
        let id = self
            .jobs
            .values()
            .find(|job| job.status == Status::Pending && self.may_take(runner, job))
            .map(|job| job.id)?;
        let job = self.jobs.get_mut(&id)?;
        job.status = Status::Running;
        job.started_at = Some(now);
        job.runner = Some(runner_id);
        job.system_id = system_id.map(str::to_owned);
        job.cancel_gracefully = cancel_gracefully;
        job.timeout = job.timeout.min(maximum);
        let pipeline = job.pipeline;
        let call = JobCallKind::Assigned {
            system_id: job.system_id.clone(),
        };
        self.record_call(id, caller, call, 201, now);
        self.update_pipeline(pipeline, now);
        Some(id)
    }

    /// The jobs whose artifacts a job gets.
    pub(crate) fn dependencies(&self, job: &Job) -> Vec<&Job> {
        let with_artifacts = |other: &&Job| match &job.spec.needs {
            Some(needs) => needs
                .iter()
                .any(|need| need.artifacts && need.job == other.spec.name),
            None => true,
        };
        let chosen = |other: &&Job| {
            job.spec
                .dependencies
                .as_ref()
                .is_none_or(|names| names.contains(&other.spec.name))
        };
        let (before, _) = self.predecessors(job);
        before
            .into_iter()
            .filter(with_artifacts)
            .filter(chosen)
            .collect()
    }
}
