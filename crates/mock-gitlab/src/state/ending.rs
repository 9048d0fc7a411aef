//! How running jobs end: with a result, or by timeout.
//!
//! As in GitLab, `retry` replaces the failed job by a new one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::store::State;
use crate::ids::JobId;
use crate::model::Job;
use crate::record::ViolationKind;
use crate::status::Status;

/// Masked values shorter than this are not searched for in traces: GitLab refuses to mask them.
const SHORTEST_SECRET: usize = 8;

impl State {
    /// End a running job. One that was being cancelled ends as cancelled, whatever the result.
    pub(crate) fn finish_job(
        &mut self,
        id: JobId,
        success: bool,
        reason: Option<String>,
        exit_code: Option<i64>,
        now: Timestamp,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        // GitLab keeps the exit code of failed jobs only; tests may query every job's.
        job.exit_code = exit_code;
        if job.status == Status::Canceling {
            job.finish(Status::Canceled, now);
        } else if success {
            job.finish(Status::Success, now);
        } else {
            job.finish(Status::Failed, now);
            job.failure_reason = Some(reason.unwrap_or_else(|| "unknown_failure".to_owned()));
        }
        let (pipeline, failed) = (job.pipeline, job.status == Status::Failed);
        self.look_for_secrets(id, now);
        if failed && self.wants_retry(id) {
            self.retry_job(id, now);
            return;
        }
        self.process(pipeline, now);
        if failed {
            self.cancel_after_failure(id, now);
        }
    }

    fn look_for_secrets(&mut self, id: JobId, now: Timestamp) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let trace = String::from_utf8_lossy(&job.trace);
        let shown = job
            .secrets
            .iter()
            .any(|secret| secret.len() >= SHORTEST_SECRET && trace.contains(secret.as_str()));
        if shown {
            let detail = "the trace shows the value of a masked variable";
            self.violation(id, ViolationKind::UnmaskedSecret, detail, None, now);
        }
    }

    /// Does `retry:` ask for another try of this failed job?
    fn wants_retry(&self, id: JobId) -> bool {
        let Some(job) = self.jobs.get(&id) else {
            return false;
        };
        let retry = &job.spec.retry;
        let tries = self
            .jobs
            .values()
            .filter(|other| other.pipeline == job.pipeline && other.spec.name == job.spec.name)
            .filter(|other| other.retried)
            .count() as u64;
        let by_reason = retry.when.is_empty() && retry.exit_codes.is_empty()
            || job
                .failure_reason
                .as_ref()
                .is_some_and(|reason| retry.when.contains(reason));
        let by_code = job
            .exit_code
            .is_some_and(|code| retry.exit_codes.contains(&code));
        tries < retry.max && (by_reason || by_code)
    }

    /// Has any job exceeded its timeout?
    pub(crate) fn has_late_jobs(&self, grace: Duration, now: Timestamp) -> bool {
        self.jobs.values().any(|job| is_late(job, grace, now))
    }

    /// Fail the jobs that have exceeded their timeout. `grace` is the time for the runner to report
    /// it itself.
    pub(crate) fn enforce_timeouts(&mut self, grace: Duration, now: Timestamp) {
        let late: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| is_late(job, grace, now))
            .map(|job| job.id)
            .collect();
        for id in late {
            self.finish_job(
                id,
                false,
                Some("job_execution_timeout".to_owned()),
                None,
                now,
            );
        }
    }
}

/// Has a running job exceeded its timeout?
fn is_late(job: &Job, grace: Duration, now: Timestamp) -> bool {
    let allowed = SignedDuration::try_from(job.timeout.saturating_add(grace)).ok();
    job.status.is_with_runner()
        && job
            .started_at
            .zip(allowed)
            .is_some_and(|(started, allowed)| now.duration_since(started) > allowed)
}
