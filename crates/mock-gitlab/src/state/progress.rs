//! Progress of pipelines: which jobs start or are skipped, and the resulting state of the pipeline.
//!
//! The rules are GitLab's: jobs of a later stage wait for all earlier ones, jobs with `needs` only
//! for those; a failure skips jobs that require success; in a resource group one job runs at a
//! time.

use jiff::Timestamp;

use super::store::State;
use crate::ci::When;
use crate::ids::{JobId, PipelineId};
use crate::model::Job;
use crate::status::{Member, Status, composite};

impl State {
    /// Start the jobs that no longer have to wait, and skip those that can no longer run.
    pub(crate) fn process(&mut self, pipeline: PipelineId, now: Timestamp) {
        loop {
            let moves: Vec<(JobId, Status)> = self
                .latest_jobs(pipeline)
                .into_iter()
                .filter(|job| job.status == Status::Created)
                .filter_map(|job| Some((job.id, self.next_status(job)?)))
                .collect();
            if moves.is_empty() {
                break;
            }
            for (id, status) in moves {
                self.enter(id, status, now);
            }
        }
        self.update_pipeline(pipeline, now);
        self.give_resources(now);
    }

    /// Put a job into a state that needs no runner.
    pub(crate) fn enter(&mut self, id: JobId, status: Status, now: Timestamp) {
        let status = match status {
            Status::Pending if !self.has_resource_for(id) => Status::WaitingForResource,
            status => status,
        };
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.status = status;
        match status {
            Status::Pending => {
                job.queued_at = Some(now);
                self.tick_queue();
            }
            Status::Skipped => job.finished_at = Some(now),
            _ => {}
        }
    }

    /// The state that follows `created`; `None`: the job still has to wait.
    fn next_status(&self, job: &Job) -> Option<Status> {
        let (before, strict) = self.predecessors(job);
        let waits = |other: &&Job| match other.status {
            Status::Manual => !other.failure_is_allowed(),
            status => !status.is_over(),
        };
        if before.iter().any(waits) {
            return None;
        }
        let ended = |status: Status| {
            before
                .iter()
                .any(|other| other.status == status && !other.failure_is_allowed())
        };
        let (failed, canceled) = (ended(Status::Failed), ended(Status::Canceled));
        if canceled && !failed {
            // After a cancelled job nothing runs, not even `always`.
            return Some(Status::Skipped);
        }
        // For a job that needs it, a job that never ran is missing; for a later stage it is not.
        let missing = strict
            && before
                .iter()
                .any(|other| matches!(other.status, Status::Skipped | Status::Manual));
        let good = !failed && !missing;
        Some(match job.spec.when {
            When::OnSuccess if good => Status::Pending,
            When::OnFailure if failed => Status::Pending,
            When::Always => Status::Pending,
            When::Manual if good => Status::Manual,
            _ => Status::Skipped,
        })
    }

    /// The jobs that a job waits for, and whether its `needs` name them.
    pub(super) fn predecessors(&self, job: &Job) -> (Vec<&Job>, bool) {
        let all = self.latest_jobs(job.pipeline).into_iter();
        match &job.spec.needs {
            Some(needs) => (
                all.filter(|other| needs.iter().any(|need| need.job == other.spec.name))
                    .collect(),
                true,
            ),
            None => (
                all.filter(|other| other.stage_index < job.stage_index)
                    .collect(),
                false,
            ),
        }
    }

    pub(crate) fn update_pipeline(&mut self, id: PipelineId, now: Timestamp) {
        let members: Vec<Member> = self
            .latest_jobs(id)
            .iter()
            .map(|job| Member {
                status: job.status,
                allow_failure: job.failure_is_allowed(),
            })
            .collect();
        let Some(pipeline) = self.pipelines.get_mut(&id) else {
            return;
        };
        if pipeline.yaml_error.is_some() {
            return;
        }
        pipeline.status = composite(&members);
        if matches!(pipeline.status, Status::Running | Status::Canceling) {
            pipeline.started_at.get_or_insert(now);
        }
        if pipeline.status.is_over() {
            pipeline.finished_at.get_or_insert(now);
        } else {
            pipeline.finished_at = None;
        }
    }

    /// Whether the job's resource group is free.
    fn has_resource_for(&self, id: JobId) -> bool {
        let Some((job, group)) = self
            .jobs
            .get(&id)
            .and_then(|job| Some((job, job.spec.resource_group.as_ref()?)))
        else {
            return true;
        };
        !self.jobs.values().any(|other| {
            other.id != id
                && other.project == job.project
                && other.spec.resource_group.as_ref() == Some(group)
                && has_resource(other)
        })
    }

    /// Give free resource groups to the waiting jobs, the oldest first.
    fn give_resources(&mut self, now: Timestamp) {
        let waiting: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| job.status == Status::WaitingForResource)
            .map(|job| job.id)
            .collect();
        for id in waiting {
            if !self.has_resource_for(id) {
                continue;
            }
            self.enter(id, Status::Pending, now);
            if let Some(pipeline) = self.jobs.get(&id).map(|job| job.pipeline) {
                self.update_pipeline(pipeline, now);
            }
        }
    }
}

fn has_resource(job: &Job) -> bool {
    job.status == Status::Pending || job.status.is_with_runner()
}
