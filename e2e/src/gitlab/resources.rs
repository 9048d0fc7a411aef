//! `resource_group`: of the jobs of one group in a project one runs at a time.

use jiff::Timestamp;

use super::ids::JobId;
use super::model::Job;
use super::state::State;
use super::status::Status;

impl State {
    /// Whether no other job has the resource that a job needs.
    pub(super) fn has_resource_for(&self, id: JobId) -> bool {
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

    /// Let those that wait for a resource have it, the oldest of each group first.
    pub(super) fn give_resources(&mut self, now: Timestamp) {
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
