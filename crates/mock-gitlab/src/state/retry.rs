//! Retrying jobs, and starting manual ones.

use std::sync::Arc;

use jiff::Timestamp;

use super::store::State;
use crate::ids::{JobId, PipelineId};
use crate::status::Status;

impl State {
    /// Replace a finished job by a new one; jobs skipped because of it wait again.
    pub(crate) fn retry_job(&mut self, id: JobId, now: Timestamp) -> Option<JobId> {
        let old = self.jobs.get_mut(&id)?;
        if old.retried
            || !matches!(
                old.status,
                Status::Failed | Status::Canceled | Status::Success
            )
        {
            return None;
        }
        old.retried = true;
        let (project, pipeline, spec) = (old.project, old.pipeline, Arc::clone(&old.spec));
        let stage_index = old.stage_index;
        let new = self.new_job(project, pipeline, spec, stage_index, now);
        let new_id = new.id;
        self.jobs.insert(new_id, new);
        self.enter(new_id, Status::Pending, now);
        self.pipelines.get_mut(&pipeline)?.jobs.push(new_id);
        self.unskip(pipeline);
        self.process(pipeline, now);
        Some(new_id)
    }

    /// Start a manual job.
    pub(crate) fn play_job(&mut self, id: JobId, now: Timestamp) -> bool {
        let Some(job) = self
            .jobs
            .get(&id)
            .filter(|job| job.status == Status::Manual)
        else {
            return false;
        };
        let pipeline = job.pipeline;
        self.enter(id, Status::Pending, now);
        self.unskip(pipeline);
        self.process(pipeline, now);
        true
    }

    /// Let skipped jobs wait again: the job because of which they were skipped may succeed now.
    fn unskip(&mut self, pipeline: PipelineId) {
        let skipped: Vec<JobId> = self
            .latest_jobs(pipeline)
            .iter()
            .filter(|job| job.status == Status::Skipped)
            .map(|job| job.id)
            .collect();
        for id in skipped {
            if let Some(job) = self.jobs.get_mut(&id) {
                (job.status, job.finished_at) = (Status::Created, None);
            }
        }
    }
}
