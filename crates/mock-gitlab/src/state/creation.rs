//! New pipelines.

use std::sync::Arc;

use jiff::Timestamp;

use super::store::State;
use crate::ci::{AutoCancel, JobSpec};
use crate::ids::{PipelineId, ProjectId};
use crate::model::{Commit, Pipeline};
use crate::status::Status;
use crate::variable::Variable;

/// A pipeline to create.
#[derive(Debug)]
pub(crate) struct NewPipeline {
    /// From [`State::next_id`].
    pub(crate) id: PipelineId,
    pub(crate) project: ProjectId,
    pub(crate) commit: Commit,
    pub(crate) before_sha: String,
    pub(crate) git_ref: String,
    pub(crate) tag: bool,
    pub(crate) source: String,
    pub(crate) variables: Vec<Variable>,
    /// Its content, or why the configuration is invalid.
    pub(crate) content: Result<Content, String>,
    /// The commit message asks to skip the jobs.
    pub(crate) skip: bool,
}

/// The content of a pipeline.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) stages: Vec<String>,
    pub(crate) jobs: Vec<JobSpec>,
    pub(crate) auto_cancel: AutoCancel,
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
    /// Create a pipeline and start the jobs that need not wait.
    pub(crate) fn add_pipeline(&mut self, new: NewPipeline, now: Timestamp) {
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
            let stage = stages.iter().position(|stage| *stage == spec.stage);
            let stage = stage.unwrap_or_default();
            let job = self.new_job(new.project, id, Arc::new(spec), stage, now);
            jobs.push(job.id);
            self.jobs.insert(job.id, job);
        }
        if new.skip {
            for id in &jobs {
                self.enter(*id, Status::Skipped, now);
            }
        }
        let finished_at = yaml_error.is_some().then_some(now);
        let pipeline = Pipeline {
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
            status: finished_at.map_or(Status::Created, |_| Status::Failed),
            created_at: now,
            started_at: None,
            finished_at,
        };
        self.pipelines.insert(id, pipeline);
        self.process(id, now);
        self.cancel_redundant(id, now);
    }
}
