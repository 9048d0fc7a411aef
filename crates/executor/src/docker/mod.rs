//! Jobs in Docker containers.

mod archive;
mod auth;
mod container;
mod helper;
mod host_config;
mod image;
mod job;
mod services;
mod size;
mod sweep;
mod volumes;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bollard::Docker;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Mutex, OnceCell};
use tokio_util::task::TaskTracker;

use crate::drive::{drive, greet, refuse};
use crate::error::ExecutorError;
use crate::plan::{JobPlan, Site};
use crate::run::{Executor, JobRun, Outcome, Swept};
use crate::settings::{DockerSettings, folder_name};

use self::helper::Helper;
use self::job::DockerJob;

pub use self::helper::{HELPER_DOCKERFILE, HELPER_IMAGE};
pub use self::sweep::kill_all;

/// Label of everything of a job: the job's number.
pub const JOB_LABEL: &str = "onspot.job";
/// Label of every container: the slot's number.
pub const SLOT_LABEL: &str = "onspot.slot";
/// Label of every container, network and volume: the runner's name.
pub const RUNNER_LABEL: &str = "onspot.runner";
/// Label of every container, network and volume: `job`, `service`, `helper`, `network` or
/// `volume`.
pub const KIND_LABEL: &str = "onspot.kind";

/// How long the engine gets to answer: it may have to take in gigabytes first.
const ANSWER: Duration = Duration::from_mins(10);

/// The folder of all builds in the containers of job, services and helper.
const BUILDS_DIR: &str = "/builds";

/// Runs jobs in Docker containers on this host. Clones share their warm helpers.
#[derive(Debug, Clone)]
pub struct DockerExecutor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    docker: Docker,
    settings: DockerSettings,
    /// One helper a slot that waits for the next job.
    warm: Mutex<HashMap<usize, Helper>>,
    /// Whose files each slot's folder holds. Kept here and not in the folder, where a job could
    /// change it; a worker that has just started knows of none.
    projects: std::sync::Mutex<HashMap<usize, u64>>,
    /// Set once the helper's image is there and the binary was seen to run in it.
    proven: OnceCell<()>,
    closed: AtomicBool,
    /// Helpers that are being made ready in the background.
    warming: TaskTracker,
}

impl DockerExecutor {
    /// Connects to the Docker engine of this host (`DOCKER_HOST`, or the usual socket).
    ///
    /// # Errors
    /// [`ExecutorError::NoEngine`] if none answers.
    pub async fn connect(settings: DockerSettings) -> Result<Self, ExecutorError> {
        let docker = engine(settings.host.as_deref()).await?;
        Ok(Self::with_engine(docker, settings))
    }

    /// Runs jobs on a Docker engine that is connected already.
    pub fn with_engine(docker: Docker, settings: DockerSettings) -> Self {
        Self {
            inner: Arc::new(Inner {
                docker,
                settings,
                warm: Mutex::new(HashMap::new()),
                projects: std::sync::Mutex::default(),
                proven: OnceCell::new(),
                closed: AtomicBool::new(false),
                warming: TaskTracker::new(),
            }),
        }
    }

    /// Builds the helper's image if the engine does not have it, and checks that the binary runs
    /// in it.
    ///
    /// # Errors
    /// If the image cannot be built, or the binary does not run.
    pub async fn prepare(&self) -> Result<(), ExecutorError> {
        self.inner.prove().await
    }
}

/// Connects to the engine and agrees on a version.
async fn engine(host: Option<&str>) -> Result<Docker, ExecutorError> {
    let no_engine = |source| ExecutorError::NoEngine { source };
    let docker = match host {
        Some(host) if !host.is_empty() => Docker::connect_with_host(host),
        _ => Docker::connect_with_local_defaults(),
    };
    let docker = docker.map_err(no_engine)?.with_timeout(ANSWER);
    let docker = docker.negotiate_version().await.map_err(no_engine)?;
    docker.ping().await.map_err(no_engine)?;
    Ok(docker)
}

impl Executor for DockerExecutor {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn run(&self, run: JobRun) -> BoxFuture<'_, Outcome> {
        async move {
            let inner = &self.inner;
            greet(&run, &inner.settings.runner);
            let site = Site {
                executor: "docker",
                builds_dir: BUILDS_DIR,
                slot: run.slot,
                world_writable: true,
            };
            let runner = &inner.settings.runner;
            let plan = match JobPlan::new(&run.payload, runner, &site) {
                Ok(plan) => plan,
                Err(error) => return refuse(&run, &error),
            };
            let mut job = DockerJob::new(Arc::clone(inner), &run, &plan);
            let limit = runner.after_script_timeout;
            let outcome = drive(&mut job, &run, &plan, limit).await;
            inner.warm_in_background(run.slot);
            outcome
        }
        .boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, Result<Swept, ExecutorError>> {
        async move {
            self.inner.warm.lock().await.clear();
            sweep::sweep(&self.inner.docker, Some(&self.inner.settings.runner.name)).await
        }
        .boxed()
    }

    fn warm(&self, slot: usize) -> BoxFuture<'_, Result<(), ExecutorError>> {
        self.inner.warm_up(slot).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.inner.closed.store(true, Ordering::SeqCst);
            self.inner.warming.close();
            self.inner.warming.wait().await;
            let helpers: Vec<Helper> = self
                .inner
                .warm
                .lock()
                .await
                .drain()
                .map(|(_, helper)| helper)
                .collect();
            for helper in helpers {
                container::remove(&self.inner.docker, &helper.id).await;
            }
        }
        .boxed()
    }
}

impl Inner {
    /// The labels of a container or network.
    fn labels(&self, kind: &str, slot: usize, job: Option<u64>) -> HashMap<String, String> {
        let mut labels: BTreeMap<String, String> = self.settings.labels.clone();
        labels.insert(KIND_LABEL.into(), kind.into());
        labels.insert(RUNNER_LABEL.into(), self.settings.runner.name.clone());
        labels.insert(SLOT_LABEL.into(), slot.to_string());
        if let Some(job) = job {
            labels.insert(JOB_LABEL.into(), job.to_string());
        }
        labels.into_iter().collect()
    }

    /// The mount that the slot's containers have in common: its folder on the engine's host.
    ///
    /// The engine resolves the path at each start of a container. Only what is below the folder
    /// is ever mounted, never what is above: nobody who sees it can put anything in its place.
    fn builds_mount(&self, slot: usize) -> String {
        let runner = folder_name(&self.settings.runner.name);
        let root = self.settings.builds_root.display();
        format!("{root}/{runner}/slot-{slot}/build:{BUILDS_DIR}")
    }

    /// Forgets and tells whose files the slot's folder holds.
    fn forget_project(&self, slot: usize) -> Option<u64> {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        projects.remove(&slot)
    }

    /// Remembers whose files the slot's folder holds from now on.
    fn remember_project(&self, slot: usize, project: u64) {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        projects.insert(slot, project);
    }
}
