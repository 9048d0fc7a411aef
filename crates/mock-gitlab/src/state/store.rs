//! The server's state, with lookups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rand::Rng;
use rand::distr::Alphanumeric;

use crate::ci::JobSpec;
use crate::git;
use crate::ids::{JobId, PipelineId, ProjectId, RunnerId};
use crate::model::{Job, Manager, Pipeline, ProjectState, Runner};
use crate::record::{Caller, Violation, ViolationKind};
use crate::status::Status;
use crate::variable::Variable;

/// The namespace of the one user.
pub(crate) const ROOT: &str = "root";

/// The whole server, in memory.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) projects: BTreeMap<ProjectId, ProjectState>,
    pub(crate) pipelines: BTreeMap<PipelineId, Pipeline>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) runners: BTreeMap<RunnerId, Runner>,
    pub(crate) violations: Vec<Violation>,
    /// The user's personal access token.
    pub(crate) user_token: String,
    /// The token that allows runners to register the old way.
    pub(crate) registration_token: Option<String>,
    /// How often a final report is answered with 202 first.
    pub(crate) accept_rounds: u32,
    /// Changes whenever a runner that found no job might find one.
    queue: u64,
    /// Makes this server's queue values different from those of other instances.
    instance: String,
    next_id: u64,
}

/// The properties of a new runner.
#[derive(Debug, Clone, Default)]
pub struct NewRunner {
    /// Its description.
    pub description: String,
    /// It takes only jobs whose tags are all among these.
    pub tags: Vec<String>,
    /// It takes jobs without tags too.
    pub run_untagged: bool,
    /// The time limit of its jobs.
    pub maximum_timeout: Option<Duration>,
    /// It takes only jobs of this project.
    pub project: Option<ProjectId>,
    /// It gets no jobs while this is set.
    pub paused: bool,
}

impl State {
    pub(crate) fn new(user_token: Option<String>, registration_token: Option<String>) -> Self {
        Self {
            projects: BTreeMap::new(),
            pipelines: BTreeMap::new(),
            jobs: BTreeMap::new(),
            runners: BTreeMap::new(),
            violations: Vec::new(),
            user_token: user_token.unwrap_or_else(|| token("glpat-")),
            registration_token,
            accept_rounds: 0,
            queue: 1,
            instance: random(8),
            next_id: 0,
        }
    }

    /// A number unique among ids of all kinds, so that an id of the wrong kind finds nothing.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Make an empty project.
    pub(crate) fn add_project(&mut self, namespace: &str, name: &str, now: Timestamp) -> ProjectId {
        let id = ProjectId(self.next_id());
        self.projects.insert(
            id,
            ProjectState {
                id,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                default_branch: "main".to_owned(),
                token: token("glpat-"),
                variables: Vec::new(),
                instance_runners: true,
                object_format: git::SHA1,
                job_token_allowlist: BTreeSet::new(),
                created_at: now,
                pushing: Arc::default(),
            },
        );
        id
    }

    /// Find a project by its number or its full path.
    pub(crate) fn project(&self, name: &str) -> Option<&ProjectState> {
        match name.parse() {
            Ok(number) => self.projects.get(&ProjectId(number)),
            Err(_) => self
                .projects
                .values()
                .find(|project| project.full_path() == name),
        }
    }

    /// May this token access the project? The user's may access all.
    pub(crate) fn may_access(&self, token: &str, project: ProjectId) -> bool {
        token == self.user_token
            || self
                .projects
                .get(&project)
                .is_some_and(|project| project.token == token)
    }

    /// The job with this token, while a runner works on it.
    pub(crate) fn job_by_token(&self, token: &str) -> Option<&Job> {
        self.jobs
            .values()
            .find(|job| job.token == token && job.status.is_with_runner())
    }

    /// Add a runner and return its number and token.
    pub(crate) fn add_runner(&mut self, new: NewRunner) -> (RunnerId, String) {
        let id = RunnerId(self.next_id());
        let token = token("glrt-");
        self.runners.insert(
            id,
            Runner {
                id,
                token: token.clone(),
                description: new.description,
                tags: new.tags.into_iter().collect(),
                run_untagged: new.run_untagged,
                maximum_timeout: new.maximum_timeout,
                paused: new.paused,
                projects: new.project.map(|project| BTreeSet::from([project])),
                managers: BTreeMap::new(),
            },
        );
        self.tick_queue();
        (id, token)
    }

    pub(crate) fn runner_by_token(&self, token: &str) -> Option<&Runner> {
        self.runners.values().find(|runner| runner.token == token)
    }

    /// May this runner get this job?
    pub(crate) fn may_take(&self, runner: &Runner, job: &Job) -> bool {
        self.projects
            .get(&job.project)
            .is_some_and(|project| runner.takes(job, project))
    }

    /// Record a contact of a runner's machine and its description of itself.
    pub(crate) fn contacted(
        &mut self,
        runner: RunnerId,
        system_id: &str,
        info: Option<serde_json::Value>,
        address: &str,
        now: Timestamp,
    ) {
        let Some(runner) = self.runners.get_mut(&runner) else {
            return;
        };
        let known = runner.managers.remove(system_id).map(|known| known.info);
        let manager = Manager {
            info: info.or(known).unwrap_or_default(),
            contacted_at: now,
            address: address.to_owned(),
        };
        runner.managers.insert(system_id.to_owned(), manager);
    }

    /// The value of `X-GitLab-Last-Update`: unchanged as long as there are no new jobs to take.
    pub(crate) fn queue_value(&self) -> String {
        format!("{}-{}", self.instance, self.queue)
    }

    pub(crate) fn tick_queue(&mut self) {
        self.queue += 1;
    }

    /// A job in the state `created`.
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
            artifacts: BTreeMap::new(),
            reported_variables: Vec::new(),
            retried: false,
            reported: None,
            accepts_left: self.accept_rounds,
            calls: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// The current jobs of a pipeline, without those replaced by a retry.
    pub(crate) fn latest_jobs(&self, pipeline: PipelineId) -> Vec<&Job> {
        self.pipelines
            .get(&pipeline)
            .into_iter()
            .flat_map(|pipeline| &pipeline.jobs)
            .filter_map(|id| self.jobs.get(id))
            .filter(|job| !job.retried)
            .collect()
    }

    pub(crate) fn violation(
        &mut self,
        job: JobId,
        kind: ViolationKind,
        detail: impl Into<String>,
        caller: Option<&Caller>,
        now: Timestamp,
    ) {
        let violation = Violation {
            at: now,
            job,
            kind,
            detail: detail.into(),
            caller: caller.cloned(),
        };
        tracing::warn!(%violation, "protocol violation");
        self.violations.push(violation);
    }

    /// Allow or forbid instance runners to take a project's jobs.
    pub(crate) fn set_instance_runners(&mut self, project: ProjectId, enabled: bool) -> bool {
        let Some(project) = self.projects.get_mut(&project) else {
            return false;
        };
        project.instance_runners = enabled;
        self.tick_queue();
        true
    }

    /// Set a project's variable, replacing one of the same name.
    pub(crate) fn set_variable(&mut self, project: ProjectId, variable: Variable) -> bool {
        let Some(project) = self.projects.get_mut(&project) else {
            return false;
        };
        project.variables.retain(|other| other.key != variable.key);
        project.variables.push(variable);
        true
    }
}

/// A random secret with GitLab's prefix for its kind.
pub(crate) fn token(prefix: &str) -> String {
    format!("{prefix}{}", random(20))
}

fn random(length: usize) -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}
