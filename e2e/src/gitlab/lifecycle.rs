//! How pipelines begin and go on, and whose turn it is.
//!
//! The rules are GitLab's: jobs of a later stage wait for all earlier ones, jobs with `needs` only
//! for those; a failure skips what wanted success.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::ci::{AutoCancel, JobSpec, When};
use super::ids::{JobId, PipelineId, ProjectId, RunnerId};
use super::model::{Commit, Job, Pipeline, Variable};
use super::record::{Caller, Told, What};
use super::state::{State, token};
use super::status::{Member, Status, composite};

/// What makes a new pipeline.
#[derive(Debug)]
pub(super) struct NewPipeline {
    /// From [`State::next_id`].
    pub(super) id: PipelineId,
    pub(super) project: ProjectId,
    pub(super) commit: Commit,
    pub(super) before_sha: String,
    pub(super) git_ref: String,
    pub(super) tag: bool,
    pub(super) source: String,
    pub(super) variables: Vec<Variable>,
    /// What it is made of, or why there is nothing.
    pub(super) content: Result<Content, String>,
    /// The commit asked for no jobs to run.
    pub(super) skip: bool,
}

/// What a pipeline is made of.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) stages: Vec<String>,
    pub(super) jobs: Vec<JobSpec>,
    pub(super) auto_cancel: AutoCancel,
}

impl Content {
    fn nothing() -> Self {
        Self {
            stages: Vec::new(),
            jobs: Vec::new(),
            auto_cancel: AutoCancel::default(),
        }
    }
}

impl State {
    /// Make a pipeline and start what can start.
    pub(super) fn add_pipeline(&mut self, new: NewPipeline, now: Timestamp) {
        let id = new.id;
        let iid = 1 + self
            .pipelines
            .values()
            .filter(|p| p.project == new.project)
            .count();
        let (content, yaml_error) = match new.content {
            Ok(content) => (content, None),
            Err(error) => (Content::nothing(), Some(error)),
        };
        let stages = content.stages;
        let mut jobs = Vec::new();
        for spec in content.jobs {
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
                auto_cancel: content.auto_cancel,
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
        self.cancel_redundant(id, now);
    }

    pub(super) fn new_job(
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
            reported_variables: Vec::new(),
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
        self.give_resources(now);
    }

    /// Let a job be in a state that it begins or ends with.
    pub(super) fn enter(&mut self, id: JobId, status: Status, now: Timestamp) {
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
        let ended = |status: Status| {
            before
                .iter()
                .any(|other| other.status == status && !other.failure_is_allowed())
        };
        let (failed, canceled) = (ended(Status::Failed), ended(Status::Canceled));
        if canceled && !failed {
            // Not even `always` runs after what was cancelled.
            return Some(Status::Skipped);
        }
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

    pub(super) fn update_pipeline(&mut self, id: PipelineId, now: Timestamp) {
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
            .find(|job| job.status == Status::Pending && self.may_take(runner, job))
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

    /// The jobs whose artifacts a job gets.
    pub(super) fn dependencies(&self, job: &Job) -> Vec<&Job> {
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
