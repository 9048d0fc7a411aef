//! The server's interface for tests: querying, waiting, acting as a person.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;
use url::Url;

use crate::builder::Builder;
use crate::error::Error;
use crate::faults::Fault;
use crate::headers::without_headers;
use crate::ids::{JobId, PipelineId, ProjectId};
use crate::push::push_folder;
use crate::record::{JobCall, Violation};
use crate::server::Server;
use crate::state::{NewRunner, State};
use crate::status::Status;
use crate::variable::Variable;
use crate::views::{self, JobView, PipelineView, Project};
use crate::{api, git};

mod repositories;

/// How often timeouts are enforced.
const TIMEOUT_CHECK: Duration = Duration::from_millis(500);

/// A running mock GitLab. It stops when this is dropped.
#[derive(Debug)]
pub struct MockGitlab {
    server: Arc<Server>,
    address: SocketAddr,
    _stop: DropGuard,
    _temporary: Option<TempDir>,
}

impl Builder {
    /// Start the server in the background.
    ///
    /// # Errors
    ///
    /// If the address is taken, or the folder can't be made.
    pub async fn start(self) -> Result<MockGitlab, Error> {
        let (dir, temporary) = if let Some(dir) = self.dir.clone() {
            (dir, None)
        } else {
            let temporary = tempfile::tempdir().map_err(Error::temporary_folder)?;
            (temporary.path().to_owned(), Some(temporary))
        };
        tokio::fs::create_dir_all(&dir)
            .await
            .map_err(Error::folder(&dir))?;
        let wanted = self.bind;
        let bind = |source| Error::Bind {
            address: wanted,
            source,
        };
        let listener = TcpListener::bind(wanted).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let url = self.url_at(address)?;
        let server = Arc::new(Server::new(self, dir, url));
        tokio::spawn(enforce_timeouts(Arc::clone(&server)));
        tokio::spawn(serve(listener, Arc::clone(&server)));
        let stop = server.stop.clone().drop_guard();
        Ok(MockGitlab {
            server,
            address,
            _stop: stop,
            _temporary: temporary,
        })
    }
}

impl MockGitlab {
    /// A server on a free port of the loopback interface with its files in a temporary folder,
    /// unless the builder's options say otherwise.
    pub fn builder() -> Builder {
        Builder::default()
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
    ///
    /// # Errors
    ///
    /// If the repository can't be made.
    pub async fn create_project(&self, name: &str) -> Result<Project, Error> {
        self.new_project(name, git::SHA1).await
    }

    /// A project by its number.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn project(&self, id: ProjectId) -> Result<Project, Error> {
        self.server
            .read(|state| Some(views::project(&self.server.url, state.projects.get(&id)?)))
            .ok_or_else(|| unknown("project", id))
    }

    /// Register a runner; returns its authentication token (`glrt-…`).
    pub fn create_runner(&self, new: NewRunner) -> String {
        self.server.change(|state| state.add_runner(new).1)
    }

    /// Set a variable of a project, replacing one of the same name.
    ///
    /// # Errors
    ///
    /// If there is no such project.
    pub fn set_variable(&self, project: ProjectId, variable: Variable) -> Result<(), Error> {
        let set = |state: &mut State| state.set_variable(project, variable);
        found_project(self.server.change(set), project)
    }

    /// Allow or forbid instance runners to take a project's jobs.
    ///
    /// # Errors
    ///
    /// If there is no such project.
    pub fn set_instance_runners(&self, project: ProjectId, enabled: bool) -> Result<(), Error> {
        let set = |state: &mut State| state.set_instance_runners(project, enabled);
        found_project(self.server.change(set), project)
    }

    /// All pipelines, oldest first.
    pub fn pipelines(&self) -> Vec<PipelineView> {
        self.server.read(|state| {
            let all = state.pipelines.values();
            all.map(|one| views::pipeline(state, one)).collect()
        })
    }

    /// A pipeline by its number.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn pipeline(&self, id: PipelineId) -> Result<PipelineView, Error> {
        self.server
            .read(|state| Some(views::pipeline(state, state.pipelines.get(&id)?)))
            .ok_or_else(|| unknown("pipeline", id))
    }

    /// Wait until a pipeline was made for this commit.
    ///
    /// # Errors
    ///
    /// If there is none in time.
    pub async fn wait_for_commit(&self, sha: &str, bound: Duration) -> Result<PipelineView, Error> {
        let find = |state: &State| {
            let mut all = state.pipelines.values();
            Some(views::pipeline(
                state,
                all.find(|one| one.commit.sha == sha)?,
            ))
        };
        let found = self.server.wait_for(bound, find).await;
        found.ok_or_else(|| unknown("pipeline for commit", sha))
    }

    /// Wait until a pipeline is over, or needs a manual action.
    ///
    /// # Errors
    ///
    /// If it does not exist or is not over in time; the error lists its jobs and their states.
    pub async fn wait_pipeline(
        &self,
        id: PipelineId,
        bound: Duration,
    ) -> Result<PipelineView, Error> {
        let over = |status: Status| status.is_over() || status == Status::Manual;
        let find = |state: &State| {
            let pipeline = state.pipelines.get(&id)?;
            over(pipeline.status).then(|| views::pipeline(state, pipeline))
        };
        match self.server.wait_for(bound, find).await {
            Some(view) => Ok(view),
            None => Err(still_running(&self.pipeline(id)?, bound)),
        }
    }

    /// Wait until `wanted` is true for a job.
    ///
    /// # Errors
    ///
    /// If it does not exist or `wanted` is not true in time; the error lists its pipeline's jobs
    /// and their states.
    pub async fn wait_job(
        &self,
        id: JobId,
        bound: Duration,
        wanted: impl Fn(&JobView) -> bool,
    ) -> Result<JobView, Error> {
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
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn job(&self, id: JobId) -> Result<JobView, Error> {
        self.server
            .read(|state| state.jobs.get(&id).map(views::job))
            .ok_or_else(|| unknown("job", id))
    }

    /// A job's trace so far, without the headers of its lines; empty for an unknown job.
    pub fn trace(&self, id: JobId) -> String {
        without_headers(&self.raw_trace(id)).into_owned()
    }

    /// A job's trace so far as its runner sent it; empty for an unknown job.
    pub fn raw_trace(&self, id: JobId) -> String {
        self.server.read(|state| {
            let trace = state.jobs.get(&id).map(|job| job.trace.as_slice());
            String::from_utf8_lossy(trace.unwrap_or_default()).into_owned()
        })
    }

    /// Every call that was made about a job, in order.
    pub fn calls(&self, id: JobId) -> Vec<JobCall> {
        let calls = |state: &State| Some(state.jobs.get(&id)?.calls.clone());
        self.server.read(calls).unwrap_or_default()
    }

    /// The runners' violations of the protocol.
    pub fn violations(&self) -> Vec<Violation> {
        self.server.read(|state| state.violations.clone())
    }

    /// Cancel a job like a person. Returns false if it is over already.
    pub fn cancel_job(&self, id: JobId) -> bool {
        self.server
            .change(|state| state.cancel_job(id, false, Timestamp::now()))
    }

    /// Cancel all jobs of a pipeline.
    pub fn cancel_pipeline(&self, id: PipelineId) {
        self.server
            .change(|state| state.cancel_pipeline(id, Timestamp::now()));
    }

    /// Retry a job, as a new one.
    pub fn retry_job(&self, id: JobId) -> Option<JobId> {
        self.server
            .change(|state| state.retry_job(id, Timestamp::now()))
    }

    /// Start a manual job. Returns false if it is not one.
    pub fn play_job(&self, id: JobId) -> bool {
        self.server
            .change(|state| state.play_job(id, Timestamp::now()))
    }

    /// Inject a fault from now on.
    pub fn fault(&self, fault: Fault) {
        self.server.faults.add(fault);
    }

    /// Remove all faults.
    pub fn clear_faults(&self) {
        self.server.faults.clear();
    }

    /// Push files to a project's default branch with git over HTTP, and return the commit.
    ///
    /// # Errors
    ///
    /// If git is missing, or the push is refused.
    pub async fn push_files(
        &self,
        project: &Project,
        files: &[(&str, &str)],
    ) -> Result<String, Error> {
        let folder = tempfile::tempdir().map_err(Error::temporary_folder)?;
        for (name, content) in files {
            let path = folder.path().join(name);
            let parent = path.parent().unwrap_or(folder.path());
            std::fs::create_dir_all(parent).map_err(Error::folder(parent))?;
            std::fs::write(&path, content).map_err(Error::folder(parent))?;
        }
        push_folder(folder.path(), &project.http_url, &project.token).await
    }
}

async fn serve(listener: TcpListener, server: Arc<Server>) {
    let router = api::router(&server).into_make_service_with_connect_info::<SocketAddr>();
    let stop = server.stop.clone();
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "mock GitLab ended");
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

fn found_project(found: bool, id: ProjectId) -> Result<(), Error> {
    found.then_some(()).ok_or_else(|| unknown("project", id))
}

fn unknown(kind: &str, id: impl std::fmt::Display) -> Error {
    Error::Unknown {
        what: format!("{kind} {id}"),
    }
}

fn still_running(pipeline: &PipelineView, bound: Duration) -> Error {
    let jobs: Vec<String> = pipeline
        .jobs
        .iter()
        .map(|job| format!("{} {}", job.name, job.status))
        .collect();
    Error::StillRunning {
        id: pipeline.id,
        status: pipeline.status.to_string(),
        bound,
        jobs: jobs.join(", "),
    }
}
