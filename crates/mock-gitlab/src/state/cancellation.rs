//! Cancellation of jobs and pipelines: by a person, by a newer pipeline, or after a failure.
//!
//! A cancelled job still runs its `after_script` if its runner supports it, as in GitLab.

use jiff::Timestamp;

use super::store::State;
use crate::ci::OnNewCommit;
use crate::ids::{JobId, PipelineId};
use crate::model::Pipeline;
use crate::status::Status;

impl State {
    /// Cancel a job. A running one whose runner can end it gracefully goes through `canceling`,
    /// unless it is forced. Returns false if there is nothing to cancel.
    pub(crate) fn cancel_job(&mut self, id: JobId, force: bool, now: Timestamp) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else {
            return false;
        };
        match job.status {
            Status::Running if job.cancel_gracefully && !force => job.status = Status::Canceling,
            Status::Canceling if !force => return false,
            Status::Created
            | Status::WaitingForResource
            | Status::Pending
            | Status::Running
            | Status::Canceling
            | Status::Manual => job.finish(Status::Canceled, now),
            _ => return false,
        }
        let pipeline = job.pipeline;
        self.process(pipeline, now);
        true
    }

    /// Cancel all jobs of a pipeline that are not over.
    pub(crate) fn cancel_pipeline(&mut self, id: PipelineId, now: Timestamp) {
        let jobs: Vec<JobId> = self.latest_jobs(id).iter().map(|job| job.id).collect();
        // The last ones first, so that the end of an earlier job does not start a later one.
        for job in jobs.into_iter().rev() {
            self.cancel_job(job, false, now);
        }
    }

    /// Cancel older pipelines of the same ref, according to their `workflow:auto_cancel`.
    pub(crate) fn cancel_redundant(&mut self, new: PipelineId, now: Timestamp) {
        let Some(new) = self.pipelines.get(&new) else {
            return;
        };
        let older: Vec<(PipelineId, OnNewCommit)> = self
            .pipelines
            .values()
            .filter(|old| is_replaced(old, new))
            .map(|old| (old.id, old.auto_cancel.on_new_commit))
            .collect();
        for (id, on_new_commit) in older {
            match on_new_commit {
                OnNewCommit::Conservative if !self.uninterruptible_job_has_started(id) => {
                    self.cancel_pipeline(id, now);
                }
                OnNewCommit::Interruptible => self.cancel_interruptible(id, now),
                OnNewCommit::Conservative | OnNewCommit::None => {}
            }
        }
    }

    /// Cancel the rest of a failed job's pipeline, if it is configured so.
    pub(crate) fn cancel_after_failure(&mut self, id: JobId, now: Timestamp) {
        let Some(job) = self.jobs.get(&id).filter(|job| !job.failure_is_allowed()) else {
            return;
        };
        let pipeline = job.pipeline;
        let asks = |pipeline: &Pipeline| pipeline.auto_cancel.on_job_failure;
        if self.pipelines.get(&pipeline).is_some_and(asks) {
            self.cancel_pipeline(pipeline, now);
        }
    }

    /// Whether a job that must not be interrupted has started.
    fn uninterruptible_job_has_started(&self, id: PipelineId) -> bool {
        self.latest_jobs(id).into_iter().any(|job| {
            let started = [Status::Running, Status::Success, Status::Failed];
            !job.spec.interruptible && started.contains(&job.status)
        })
    }

    fn cancel_interruptible(&mut self, id: PipelineId, now: Timestamp) {
        let jobs = self.latest_jobs(id).into_iter();
        let jobs: Vec<JobId> = jobs
            .filter(|job| job.spec.interruptible)
            .map(|job| job.id)
            .collect();
        for job in jobs.into_iter().rev() {
            self.cancel_job(job, false, now);
        }
    }
}

/// Does the new pipeline replace the old one?
fn is_replaced(old: &Pipeline, new: &Pipeline) -> bool {
    let can_be_cancelled = matches!(
        old.status,
        Status::Created | Status::WaitingForResource | Status::Pending | Status::Running
    );
    can_be_cancelled
        && old.id < new.id
        && old.project == new.project
        && (old.git_ref == new.git_ref && old.tag == new.tag)
        && old.commit.sha != new.commit.sha
}
