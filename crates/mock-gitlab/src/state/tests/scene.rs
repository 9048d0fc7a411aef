//! A state without a server, and the actions of runners.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::ci::CiConfig;
use crate::ids::{JobId, PipelineId, ProjectId, RunnerId};
use crate::model::Commit;
use crate::record::{Caller, ViolationKind};
use crate::state::{Appended, Update};
use crate::state::{Content, NewPipeline};
use crate::state::{NewRunner, State};

/// A state with one project, one runner and one pipeline.
pub(super) struct Scene {
    pub(super) state: State,
    project: ProjectId,
    pub(super) runner: RunnerId,
    pub(super) pipeline: PipelineId,
    pub(super) now: Timestamp,
}

impl Scene {
    pub(super) fn new(yaml: &str) -> Self {
        let now = Timestamp::UNIX_EPOCH;
        let mut state = State::new(None, None);
        let project = state.add_project("root", "app", now);
        let new = NewRunner {
            run_untagged: true,
            tags: vec!["a".to_owned()],
            ..NewRunner::default()
        };
        let (runner, _) = state.add_runner(new);
        let mut scene = Self {
            state,
            project,
            runner,
            pipeline: PipelineId(0),
            now,
        };
        scene.pipeline = scene.push(yaml);
        scene
    }

    /// Another commit, and its pipeline.
    pub(super) fn push(&mut self, yaml: &str) -> PipelineId {
        let config = CiConfig::parse(yaml).expect("a configuration");
        let pipeline = PipelineId(self.state.next_id());
        self.state.add_pipeline(
            NewPipeline {
                id: pipeline,
                project: self.project,
                commit: Commit {
                    sha: format!("c0ffee{pipeline}"),
                    ..Commit::default()
                },
                before_sha: String::new(),
                git_ref: "main".to_owned(),
                tag: false,
                source: "push".to_owned(),
                variables: Vec::new(),
                content: Ok(Content {
                    stages: config.stages,
                    jobs: config.jobs,
                    auto_cancel: config.auto_cancel,
                }),
                skip: false,
            },
            self.now,
        );
        pipeline
    }

    pub(super) fn caller(address: &str) -> Caller {
        Caller {
            address: address.to_owned(),
            user_agent: "test".to_owned(),
            name: None,
        }
    }

    pub(super) fn assign(&mut self) -> Option<JobId> {
        self.state.assign(
            self.runner,
            Some("s_1"),
            &Self::caller("10.0.0.1"),
            self.now,
        )
    }

    pub(super) fn end(&mut self, job: JobId, success: bool) {
        self.state.finish_job(
            job,
            success,
            Some("script_failure".to_owned()),
            Some(1),
            self.now,
        );
    }

    pub(super) fn report(&mut self, job: JobId, state: &str) -> u16 {
        let update = Update {
            state: state.to_owned(),
            ..Update::default()
        };
        self.state
            .report(job, &update, &Self::caller("10.0.0.1"), self.now)
    }

    pub(super) fn append(&mut self, job: JobId, start: u64, text: &str, address: &str) -> Appended {
        let caller = Self::caller(address);
        self.state
            .append_trace(job, start, text.as_bytes(), 1000, &caller, self.now)
    }

    pub(super) fn name(&self, job: JobId) -> &str {
        &self.state.jobs[&job].spec.name
    }

    /// The state of each job by name, and that of the pipeline under "".
    pub(super) fn statuses(&self) -> BTreeMap<String, &'static str> {
        let jobs = self.state.latest_jobs(self.pipeline).into_iter();
        let mut all: BTreeMap<_, _> = jobs
            .map(|job| (job.spec.name.clone(), job.status.as_str()))
            .collect();
        all.insert(
            String::new(),
            self.state.pipelines[&self.pipeline].status.as_str(),
        );
        all
    }

    pub(super) fn kinds(&self) -> Vec<ViolationKind> {
        self.state
            .violations
            .iter()
            .map(|violation| violation.kind)
            .collect()
    }
}
