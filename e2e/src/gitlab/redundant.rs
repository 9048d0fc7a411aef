//! Pipelines that nobody waits for any more, and are cancelled without a person.

use jiff::Timestamp;

use super::ci::OnNewCommit;
use super::ids::{JobId, PipelineId};
use super::model::Pipeline;
use super::state::State;
use super::status::Status;

impl State {
    /// Cancel the older pipelines of a new one's ref, as far as they allow it.
    pub(super) fn cancel_redundant(&mut self, new: PipelineId, now: Timestamp) {
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
                OnNewCommit::Conservative if !self.has_begun_for_good(id) => {
                    self.cancel_pipeline(id, now);
                }
                OnNewCommit::Interruptible => self.cancel_interruptible(id, now),
                OnNewCommit::Conservative | OnNewCommit::None => {}
            }
        }
    }

    /// Cancel the rest of a failed job's pipeline, if it asks for that.
    pub(super) fn cancel_after_failure(&mut self, id: JobId, now: Timestamp) {
        let Some(job) = self.jobs.get(&id).filter(|job| !job.failure_is_allowed()) else {
            return;
        };
        let pipeline = job.pipeline;
        let asks = |pipeline: &Pipeline| pipeline.auto_cancel.on_job_failure;
        if self.pipelines.get(&pipeline).is_some_and(asks) {
            self.cancel_pipeline(pipeline, now);
        }
    }

    /// Whether a job has started that must not be interrupted.
    fn has_begun_for_good(&self, id: PipelineId) -> bool {
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

/// Does the new pipeline make the old one redundant?
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
