//! A GitLab to test runners with: stateful, small, and as strict as the real one.
//!
//! Projects are made by `git push` over HTTP, pipelines from their `.gitlab-ci.yml`; runners
//! register, ask for jobs, report traces, results and artifacts with the real status codes; people
//! use the REST API under `/api/v4` or look at the pages. Everything is in memory but the bare
//! repositories and the artifacts.
//!
//! Tests hold a [`MockGitLab`] and see what no API shows: every call that was made about a job
//! ([`MockGitLab::told`]) and every violation of the protocol ([`MockGitLab::violations`]). They
//! can also let calls fail ([`MockGitLab::fault`]).

mod ansi;
mod api;
mod ci;
mod dotenv;
mod endings;
mod error;
mod expand;
mod faults;
mod git;
mod git_http;
mod ids;
mod lifecycle;
mod model;
mod options;
mod pages;
mod payload;
mod record;
mod redundant;
mod reports;
mod resources;
mod server;
mod state;
mod status;
mod trigger;
mod variables;
mod views;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;
use url::Url;

pub use error::GitLabError;
pub use faults::{Fault, FaultAction};
pub use ids::{JobId, PipelineId, ProjectId, RunnerId};
pub use model::Variable;
pub use options::GitLabOptions;
pub use record::{Caller, Told, Violation, ViolationKind, What};
pub use state::NewRunner;
pub use status::Status;
pub use views::{JobView, PipelineView, Project};

use server::Server;
use state::State;

/// How often is looked for jobs whose time is up.
const TIMEOUT_CHECK: Duration = Duration::from_millis(500);

/// A running mock GitLab. It stops when this is dropped.
#[derive(Debug)]
pub struct MockGitLab {
    server: Arc<Server>,
    address: SocketAddr,
    _stop: DropGuard,
}

impl MockGitLab {
    /// Start the server in the background.
    pub async fn serve(options: GitLabOptions) -> Result<Self, GitLabError> {
        tokio::fs::create_dir_all(&options.dir)
            .await
            .map_err(|source| GitLabError::Folder {
                path: options.dir.clone(),
                source,
            })?;
        let bind = |source| GitLabError::Bind {
            address: options.bind,
            source,
        };
        let listener = TcpListener::bind(options.bind).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let url = options.url_at(address)?;
        let mut state = State::new(options.token.clone(), options.registration_token.clone());
        state.accept_rounds = options.accept_rounds;
        let server = Arc::new(Server::new(options, url, state));
        let router = api::router(&server).into_make_service_with_connect_info::<SocketAddr>();
        let stop = server.stop.clone();
        tokio::spawn(enforce_timeouts(Arc::clone(&server)));
        tokio::spawn(async move {
            let stopped = async move { stop.cancelled().await };
            if let Err(error) = axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await
            {
                tracing::error!(%error, "mock GitLab ended");
            }
        });
        let guard = server.stop.clone().drop_guard();
        Ok(Self {
            server,
            address,
            _stop: guard,
        })
    }

    /// The address given to runners and jobs.
    pub fn url(&self) -> &Url {
        &self.server.url
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The user's personal access token: for the REST API and for pushing anywhere under `root/`.
    pub fn token(&self) -> String {
        self.server.read(|state| state.user_token.clone())
    }

    /// Make an empty project `root/<name>`.
    pub async fn create_project(&self, name: &str) -> Result<Project, GitLabError> {
        let id = api::create_project(&self.server, state::ROOT, name).await?;
        self.project(id)
    }

    /// A project by its number.
    pub fn project(&self, id: ProjectId) -> Result<Project, GitLabError> {
        self.server
            .read(|state| Some(views::project(&self.server.url, state.projects.get(&id)?)))
            .ok_or_else(|| unknown("project", id))
    }

    /// Register a runner; returns its authentication token (`glrt-…`).
    pub fn create_runner(&self, new: NewRunner) -> String {
        self.server.change(|state| state.add_runner(new).1)
    }

    /// Set a variable of a project, replacing one of the same name.
    pub fn set_variable(&self, project: ProjectId, variable: Variable) -> Result<(), GitLabError> {
        let done = self
            .server
            .change(|state| state.set_variable(project, variable));
        done.then_some(())
            .ok_or_else(|| unknown("project", project))
    }

    /// Let only runners of its own take a project's jobs, or those of the instance too.
    pub fn set_instance_runners(
        &self,
        project: ProjectId,
        enabled: bool,
    ) -> Result<(), GitLabError> {
        let done = self
            .server
            .change(|state| state.set_instance_runners(project, enabled));
        done.then_some(())
            .ok_or_else(|| unknown("project", project))
    }

    /// All pipelines, oldest first.
    pub fn pipelines(&self) -> Vec<PipelineView> {
        self.server.read(|state| {
            state
                .pipelines
                .values()
                .map(|pipeline| views::pipeline(state, pipeline))
                .collect()
        })
    }

    /// A pipeline by its number.
    pub fn pipeline(&self, id: PipelineId) -> Result<PipelineView, GitLabError> {
        self.server
            .read(|state| Some(views::pipeline(state, state.pipelines.get(&id)?)))
            .ok_or_else(|| unknown("pipeline", id))
    }

    /// Wait until a pipeline was made for this commit.
    pub async fn wait_for_commit(
        &self,
        sha: &str,
        bound: Duration,
    ) -> Result<PipelineView, GitLabError> {
        let find = |state: &State| {
            let found = state
                .pipelines
                .values()
                .find(|pipeline| pipeline.commit.sha == sha)?;
            Some(views::pipeline(state, found))
        };
        let found = self.server.wait_for(bound, find).await;
        found.ok_or_else(|| unknown("pipeline for commit", sha))
    }

    /// Wait until a pipeline is over, or waits for a person.
    pub async fn wait_pipeline(
        &self,
        id: PipelineId,
        bound: Duration,
    ) -> Result<PipelineView, GitLabError> {
        let over = |status: Status| status.is_over() || status == Status::Manual;
        let find = |state: &State| {
            let pipeline = state
                .pipelines
                .get(&id)
                .filter(|pipeline| over(pipeline.status))?;
            Some(views::pipeline(state, pipeline))
        };
        match self.server.wait_for(bound, find).await {
            Some(view) => Ok(view),
            None => Err(still_running(&self.pipeline(id)?, bound)),
        }
    }

    /// Wait until a job is as `wanted` says. `Err` holds it as it is when the time is up.
    pub async fn wait_job(
        &self,
        id: JobId,
        bound: Duration,
        wanted: impl Fn(&JobView) -> bool,
    ) -> Result<JobView, GitLabError> {
        let find = |state: &State| Some(views::job(state.jobs.get(&id)?)).filter(&wanted);
        if let Some(view) = self.server.wait_for(bound, find).await {
            return Ok(view);
        }
        let pipeline = self.job(id)?.pipeline;
        Err(still_running(&self.pipeline(pipeline)?, bound))
    }

    /// All jobs, oldest first, retried ones included.
    pub fn jobs(&self) -> Vec<JobView> {
        self.server
            .read(|state| state.jobs.values().map(views::job).collect())
    }

    /// A job by its number.
    pub fn job(&self, id: JobId) -> Result<JobView, GitLabError> {
        self.server
            .read(|state| state.jobs.get(&id).map(views::job))
            .ok_or_else(|| unknown("job", id))
    }

    /// A job's trace so far; empty for a job there is none of.
    pub fn trace(&self, id: JobId) -> String {
        self.server.read(|state| {
            let trace = state.jobs.get(&id).map(|job| job.trace.as_slice());
            String::from_utf8_lossy(trace.unwrap_or_default()).into_owned()
        })
    }

    /// Every call that was made about a job, in order.
    pub fn told(&self, id: JobId) -> Vec<Told> {
        self.server.read(|state| {
            state
                .jobs
                .get(&id)
                .map(|job| job.told.clone())
                .unwrap_or_default()
        })
    }

    /// What runners did that they must not do.
    pub fn violations(&self) -> Vec<Violation> {
        self.server.read(|state| state.violations.clone())
    }

    /// Cancel a job, as a person does. Returns false if it is over already.
    pub fn cancel_job(&self, id: JobId) -> bool {
        self.server
            .change(|state| state.cancel_job(id, false, Timestamp::now()))
    }

    /// Cancel all jobs of a pipeline.
    pub fn cancel_pipeline(&self, id: PipelineId) {
        self.server
            .change(|state| state.cancel_pipeline(id, Timestamp::now()));
    }

    /// Run a job once more, as a new one.
    pub fn retry_job(&self, id: JobId) -> Option<JobId> {
        self.server
            .change(|state| state.retry_job(id, Timestamp::now()))
    }

    /// Start a manual job. Returns false if it is none.
    pub fn play_job(&self, id: JobId) -> bool {
        self.server
            .change(|state| state.play_job(id, Timestamp::now()))
    }

    /// Let calls go wrong.
    pub fn fault(&self, fault: Fault) {
        self.server.faults.add(fault);
    }

    /// Let no more calls go wrong.
    pub fn clear_faults(&self) {
        self.server.faults.clear();
    }

    /// Push files to a project's default branch, by git over HTTP, and return the commit.
    pub async fn push_files(
        &self,
        project: &Project,
        files: &[(&str, &str)],
    ) -> Result<String, crate::push::PushError> {
        let folder = tempfile::tempdir().map_err(crate::push::PushError::folder)?;
        for (name, content) in files {
            let path = folder.path().join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(crate::push::PushError::folder)?;
            }
            std::fs::write(path, content).map_err(crate::push::PushError::folder)?;
        }
        crate::push::publish(folder.path(), &project.http_url, &project.token).await
    }
}

async fn enforce_timeouts(server: Arc<Server>) {
    let mut clock = tokio::time::interval(TIMEOUT_CHECK);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = server.stop.cancelled() => return,
        }
        let (grace, now) = (server.options.timeout_grace, Timestamp::now());
        if server.read(|state| state.has_late_jobs(grace, now)) {
            server.change(|state| state.enforce_timeouts(grace, now));
        }
    }
}

fn unknown(kind: &str, id: impl std::fmt::Display) -> GitLabError {
    GitLabError::Unknown {
        what: format!("{kind} {id}"),
    }
}

fn still_running(pipeline: &PipelineView, bound: Duration) -> GitLabError {
    let jobs: Vec<String> = pipeline
        .jobs
        .iter()
        .map(|job| format!("{} {}", job.name, job.status))
        .collect();
    GitLabError::StillRunning {
        id: pipeline.id,
        status: pipeline.status.to_string(),
        bound,
        jobs: jobs.join(", "),
    }
}
