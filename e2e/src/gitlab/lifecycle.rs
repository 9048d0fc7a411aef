//! How jobs and pipelines move from state to state.
//!
//! The rules are GitLab's: jobs of a later stage wait for all earlier ones, jobs with `needs` only
//! for those; a failure skips what wanted success; `retry` puts a new job in the place of the
//! failed one; a cancelled job whose runner can do so still runs its `after_script`.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::ci::{JobSpec, When, is_named};
use super::ids::{JobId, PipelineId, ProjectId, RunnerId};
use super::model::{Commit, Job, Pipeline, Variable};
use super::record::{Caller, Told, ViolationKind, What};
use super::state::{State, token};
use super::status::{Member, Status, composite};

/// Masked values shorter than this are not looked for in traces: GitLab refuses to mask them.
const SHORTEST_SECRET: usize = 8;

/// What makes a new pipeline.
#[derive(Debug)]
pub(super) struct NewPipeline {
    pub(super) project: ProjectId,
    pub(super) commit: Commit,
    pub(super) before_sha: String,
    pub(super) git_ref: String,
    pub(super) tag: bool,
    pub(super) source: String,
    pub(super) variables: Vec<Variable>,
    /// Stages and jobs, or why there are none.
    pub(super) content: Result<(Vec<String>, Vec<JobSpec>), String>,
    /// The commit asked for no jobs to run.
    pub(super) skip: bool,
}

impl State {
    /// Make a pipeline and start what can start.
    pub(super) fn add_pipeline(&mut self, new: NewPipeline, now: Timestamp) -> PipelineId {
        let id = PipelineId(self.next_id());
        let iid = 1 + self
            .pipelines
            .values()
            .filter(|p| p.project == new.project)
            .count();
        let (stages, specs, yaml_error) = match new.content {
            Ok((stages, specs)) => (stages, specs, None),
            Err(error) => (Vec::new(), Vec::new(), Some(error)),
        };
        let mut jobs = Vec::new();
        for spec in specs {
            let stage_index = stages
                .iter()
                .position(|s| *s == spec.stage)
                .unwrap_or_default();
            let job = self.new_job(new.project, id, Arc::new(spec), stage_index, now);
            jobs.push(job.id);
            self.jobs.insert(job.id, job);
        }
        if new.skip {
            for id in &jobs {
                self.enter(*id, Status::Skipped, now);
            }
        }
        let failed = yaml_error.is_some();
        self.pipelines.insert(
            id,
            Pipeline {
                id,
                iid: iid as u64,
                project: new.project,
                commit: new.commit,
                before_sha: new.before_sha,
                git_ref: new.git_ref,
                tag: new.tag,
                source: new.source,
                stages,
                jobs,
                yaml_error,
                variables: new.variables,
                status: if failed {
                    Status::Failed
                } else {
                    Status::Created
                },
                created_at: now,
                started_at: None,
                finished_at: failed.then_some(now),
            },
        );
        self.process(id, now);
        id
    }

    fn new_job(
        &mut self,
        project: ProjectId,
        pipeline: PipelineId,
        spec: Arc<JobSpec>,
        stage_index: usize,
        now: Timestamp,
    ) -> Job {
        Job {
            id: JobId(self.next_id()),
            project,
            pipeline,
            timeout: spec.timeout,
            spec,
            stage_index,
            status: Status::Created,
            token: token("glcbt-64_"),
            created_at: now,
            queued_at: None,
            started_at: None,
            finished_at: None,
            failure_reason: None,
            exit_code: None,
            runner: None,
            system_id: None,
            cancel_gracefully: false,
            worker: None,
            trace: Vec::new(),
            resend_allowed: false,
            artifacts: std::collections::BTreeMap::new(),
            retried: false,
            reported: None,
            accepts_left: self.accept_rounds,
            told: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Let every job whose turn has come begin, and every one whose turn will not come be skipped.
    pub(super) fn process(&mut self, pipeline: PipelineId, now: Timestamp) {
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
    }

    fn enter(&mut self, id: JobId, status: Status, now: Timestamp) {
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

    /// Where a job that was only made goes now; `None`: it still has to wait.
    fn next_status(&self, job: &Job) -> Option<Status> {
        let (before, strict) = self.predecessors(job);
        let waits = |other: &&Job| match other.status {
            Status::Manual => !other.failure_is_allowed(),
            status => !status.is_over(),
        };
        if before.iter().any(waits) {
            return None;
        }
        let failed = before.iter().any(|other| {
            matches!(other.status, Status::Failed | Status::Canceled) && !other.failure_is_allowed()
        });
        // With `needs` a job that never ran gave nothing; in stages it just was not wanted.
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

    /// The jobs that a job waits for, and whether it named them itself.
    fn predecessors(&self, job: &Job) -> (Vec<&Job>, bool) {
        let all = self.latest_jobs(job.pipeline).into_iter();
        match &job.spec.needs {
            Some(needs) => (
                all.filter(|other| needs.iter().any(|need| is_named(&other.spec, &need.job)))
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

    fn update_pipeline(&mut self, id: PipelineId, now: Timestamp) {
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

    /// Give the oldest job that the runner may take to one of its machines.
    pub(super) fn assign(
        &mut self,
        runner: RunnerId,
        system_id: Option<&str>,
        caller: &Caller,
        now: Timestamp,
    ) -> Option<JobId> {
        let runner = self.runners.get(&runner)?;
        let manager = runner.managers.get(system_id.unwrap_or_default());
        let cancel_gracefully = manager.is_some_and(super::model::Manager::cancels_gracefully);
        let maximum = runner.maximum_timeout.unwrap_or(Duration::MAX);
        let runner_id = runner.id;
        let id = self
            .jobs
            .values()
            .find(|job| job.status == Status::Pending && runner.takes(job))
            .map(|job| job.id)?;
        let job = self.jobs.get_mut(&id)?;
        job.status = Status::Running;
        job.started_at = Some(now);
        job.runner = Some(runner_id);
        job.system_id = system_id.map(str::to_owned);
        job.cancel_gracefully = cancel_gracefully;
        job.timeout = job.timeout.min(maximum);
        job.told.push(Told {
            at: now,
            caller: caller.clone(),
            what: What::Assigned {
                system_id: system_id.map(str::to_owned),
            },
            answer: 201,
        });
        let pipeline = job.pipeline;
        self.update_pipeline(pipeline, now);
        Some(id)
    }

    /// A running job ends. One that was being cancelled ends as cancelled, whatever the result.
    pub(super) fn finish_job(
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
        if job.status == Status::Canceling {
            job.finish(Status::Canceled, now);
        } else if success {
            job.finish(Status::Success, now);
        } else {
            job.finish(Status::Failed, now);
            job.failure_reason = Some(reason.unwrap_or_else(|| "unknown_failure".to_owned()));
            job.exit_code = exit_code;
        }
        let (pipeline, failed) = (job.pipeline, job.status == Status::Failed);
        self.look_for_secrets(id, now);
        if failed && self.wants_retry(id) {
            self.retry_job(id, now);
        } else {
            self.process(pipeline, now);
        }
    }

    fn look_for_secrets(&mut self, id: JobId, now: Timestamp) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let shown = job.secrets.iter().any(|secret| {
            secret.len() >= SHORTEST_SECRET
                && job
                    .trace
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes())
        });
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

    /// Put a new job in the place of one that is over; what was skipped because of it waits again.
    pub(super) fn retry_job(&mut self, id: JobId, now: Timestamp) -> Option<JobId> {
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
        let skipped: Vec<JobId> = self
            .latest_jobs(pipeline)
            .iter()
            .filter(|job| job.status == Status::Skipped)
            .map(|job| job.id)
            .collect();
        for id in skipped {
            let job = self.jobs.get_mut(&id)?;
            (job.status, job.finished_at) = (Status::Created, None);
        }
        self.process(pipeline, now);
        Some(new_id)
    }

    /// Start a manual job.
    pub(super) fn play_job(&mut self, id: JobId, now: Timestamp) -> bool {
        let Some(job) = self
            .jobs
            .get(&id)
            .filter(|job| job.status == Status::Manual)
        else {
            return false;
        };
        let pipeline = job.pipeline;
        self.enter(id, Status::Pending, now);
        self.process(pipeline, now);
        true
    }

    /// Cancel a job. A running one whose runner can end it gracefully goes through `canceling`,
    /// unless it is forced. Returns false if there is nothing to cancel.
    pub(super) fn cancel_job(&mut self, id: JobId, force: bool, now: Timestamp) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else {
            return false;
        };
        match job.status {
            Status::Running if job.cancel_gracefully && !force => job.status = Status::Canceling,
            Status::Canceling if !force => return false,
            Status::Created
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
    pub(super) fn cancel_pipeline(&mut self, id: PipelineId, now: Timestamp) {
        let jobs: Vec<JobId> = self.latest_jobs(id).iter().map(|job| job.id).collect();
        // The last ones first, so that no later job begins because an earlier one is gone.
        for job in jobs.into_iter().rev() {
            self.cancel_job(job, false, now);
        }
    }

    /// Is there a job whose time is up?
    pub(super) fn has_late_jobs(&self, grace: Duration, now: Timestamp) -> bool {
        self.jobs.values().any(|job| is_late(job, grace, now))
    }

    /// Fail the jobs whose time is up. `grace` is what a runner gets to report it itself.
    pub(super) fn enforce_timeouts(&mut self, grace: Duration, now: Timestamp) {
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

    /// The jobs whose artifacts a job gets.
    pub(super) fn dependencies(&self, job: &Job) -> Vec<&Job> {
        let with_artifacts = |other: &&Job| match &job.spec.needs {
            Some(needs) => needs
                .iter()
                .any(|need| need.artifacts && is_named(&other.spec, &need.job)),
            None => true,
        };
        let chosen = |other: &&Job| {
            job.spec
                .dependencies
                .as_ref()
                .is_none_or(|names| names.iter().any(|name| is_named(&other.spec, name)))
        };
        let (before, _) = self.predecessors(job);
        before
            .into_iter()
            .filter(with_artifacts)
            .filter(chosen)
            .collect()
    }
}

/// Has a runner had this job for longer than it may?
fn is_late(job: &Job, grace: Duration, now: Timestamp) -> bool {
    let allowed = SignedDuration::try_from(job.timeout.saturating_add(grace)).ok();
    job.status.is_with_runner()
        && job
            .started_at
            .zip(allowed)
            .is_some_and(|(started, allowed)| now.duration_since(started) > allowed)
}

#[cfg(test)]
mod tests;
