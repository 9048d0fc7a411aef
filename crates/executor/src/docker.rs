//! Jobs in Docker containers.

mod archive;
mod auth;
mod container;
mod demand;
mod freeze;
mod give_away;
mod grants;
mod health;
mod helper;
mod host_config;
mod image;
mod job;
mod kill;
mod memory;
mod out_of_memory;
mod removal;
mod service;
mod service_log;
mod services;
mod size;
mod sweep;
mod volumes;
mod warm;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use futures::FutureExt;
use futures::future::BoxFuture;
use onspot_gitlab::job::JobPayload;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::drive::{drive, greet, refuse};
use crate::error::Error;
use crate::gate::Gates;
use crate::plan::{JobPlan, Site};
use crate::run::{Executor, JobRun, Outcome, Swept};
use crate::settings::{AFTER_SCRIPT_TIMEOUT, DockerSettings, folder_name};

use self::auth::{Ecr, Own};
use self::grants::Grants;
use self::job::DockerJob;
use self::warm::Warm;

pub use self::freeze::freeze_all;
pub use self::helper::{HELPER_DOCKERFILE, HELPER_IMAGE};
pub use self::sweep::kill_all;

/// Label of everything that belongs to a job: the job's number.
pub const JOB_LABEL: &str = "onspot.job";
/// Label of every container: the slot's number.
pub const SLOT_LABEL: &str = "onspot.slot";
/// Label of every container, network and volume: the runner's name.
pub const RUNNER_LABEL: &str = "onspot.runner";
/// Label of every container, network and volume: `job`, `service`, `helper`, `network`, `volume`,
/// or `cache` for a volume that is kept for later jobs.
pub const KIND_LABEL: &str = "onspot.kind";

/// Time limit for the engine's answer: it may have to receive gigabytes first.
const ANSWER: Duration = Duration::from_mins(10);

/// The folder of all builds, in the containers of job, services and helper.
const BUILDS_DIR: &str = "/builds";

/// Runs jobs in Docker containers on this host. Clones share the waiting helpers.
#[derive(Debug, Clone)]
pub struct DockerExecutor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    docker: Docker,
    settings: DockerSettings,
    /// Access to Amazon's registries.
    ecr: Arc<Ecr>,
    /// The helpers waiting for the next jobs.
    warm: parking_lot::Mutex<Warm>,
    /// Which owner's files each slot's folder contains. Stored here and not in the folder, where a
    /// job could change it; after a restart of the worker it is empty.
    owners: parking_lot::Mutex<HashMap<usize, Owner>>,
    /// The slots' gates, which are closed while a slot is frozen.
    gates: Gates,
    /// Which jobs may use which private image.
    grants: Grants,
    /// The helper's image, once it exists and the binary was checked to run in it.
    proven: OnceCell<String>,
    /// This host's memory, once the engine was asked.
    memory: OnceCell<u64>,
    /// Cancelled once there will be no more jobs.
    closed: CancellationToken,
    /// Work that runs in parallel to jobs, or outlives them.
    making: TaskTracker,
}

/// The owner of the files in a slot's folder. Only jobs of the same owner may use them: a job of a
/// protected branch must not find what a job of any other branch could have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    project: u64,
    protected: bool,
}

impl Owner {
    fn of(job: &JobPayload) -> Self {
        Self {
            project: job.job_info.project_id,
            protected: job.is_protected(),
        }
    }
}

impl DockerExecutor {
    /// Connects to the Docker engine of this host (`DOCKER_HOST`, or the usual socket).
    ///
    /// # Errors
    /// [`Error::NoEngine`] if no engine answers.
    pub async fn connect(settings: DockerSettings) -> Result<Self, Error> {
        let docker = engine(settings.docker.host.as_deref()).await?;
        Ok(Self::with_engine(docker, settings))
    }

    /// Runs jobs on an already connected Docker engine.
    pub fn with_engine(docker: Docker, mut settings: DockerSettings) -> Self {
        settings.docker = settings.docker.with_slot_cgroups(&settings.common.runner);
        Self {
            inner: Arc::new(Inner {
                docker,
                ecr: Arc::default(),
                grants: Grants::in_file(settings.private_images.clone()),
                settings,
                memory: OnceCell::new(),
                warm: parking_lot::Mutex::default(),
                owners: parking_lot::Mutex::default(),
                gates: Gates::default(),
                proven: OnceCell::new(),
                closed: CancellationToken::new(),
                making: TaskTracker::new(),
            }),
        }
    }

    /// Pulls or builds the helper's image if it is missing, and checks that the binary runs in it.
    ///
    /// # Errors
    /// If the image cannot be built, or the binary does not run.
    pub async fn prepare(&self) -> Result<(), Error> {
        self.inner.prove().await.map(drop)
    }
}

/// Connects to the engine and negotiates the API version.
async fn engine(host: Option<&str>) -> Result<Docker, Error> {
    let no_engine = |source| Error::NoEngine { source };
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
            greet(&run, &inner.settings.common);
            let site = Site {
                executor: "docker",
                builds_dir: BUILDS_DIR,
                slot: run.slot,
                short_token: run.short_token.as_str(),
                world_writable: true,
            };
            let runner = &inner.settings.common;
            let plan = match JobPlan::new(&run.payload, runner, &site) {
                Ok(plan) => plan,
                Err(error) => {
                    inner.gates.open(run.slot);
                    return refuse(&run, &error);
                }
            };
            let busy = inner.busy();
            let mut job = DockerJob::new(Arc::clone(inner), &run, &plan);
            let limit = AFTER_SCRIPT_TIMEOUT;
            let outcome = drive(&mut job, &run, &plan, limit).await;
            drop(busy);
            inner.gates.open(run.slot);
            inner.warm_in_background(run.slot);
            inner.cool_down_later();
            outcome
        }
        .boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, Result<Swept, Error>> {
        async move {
            self.inner.forget_helpers();
            sweep::sweep(
                &self.inner.docker,
                Some(&self.inner.settings.common.runner.name),
            )
            .await
        }
        .boxed()
    }

    fn warm(&self, slot: usize) -> BoxFuture<'_, Result<(), Error>> {
        let inner = Arc::clone(&self.inner);
        async move {
            // Runs to its end even if nobody waits for it, so that `close` can remove the result.
            let making = inner.making.clone();
            match making.spawn(async move { inner.warm_up(slot).await }).await {
                Ok(made) => made,
                Err(error) => Err(Error::io("make a helper ready")(std::io::Error::other(
                    error,
                ))),
            }
        }
        .boxed()
    }

    fn freeze(&self, slot: usize) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.freeze(slot).boxed()
    }

    fn thaw(&self, slot: usize) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.thaw(slot).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close().boxed()
    }
}

impl Inner {
    /// The logins for registries that are not a job's.
    fn own_logins(&self) -> Own<'_> {
        Own {
            of_runner: self.settings.docker_auth_config(),
            file: self.settings.docker_config.as_deref(),
            ecr: &self.ecr,
        }
    }

    /// The labels of a container or network.
    fn labels(&self, kind: &str, slot: usize, job: Option<u64>) -> HashMap<String, String> {
        let mut labels: BTreeMap<String, String> = self.settings.docker.labels.clone();
        labels.insert(KIND_LABEL.into(), kind.into());
        labels.insert(
            RUNNER_LABEL.into(),
            self.settings.common.runner.name.clone(),
        );
        labels.insert(SLOT_LABEL.into(), slot.to_string());
        if let Some(job) = job {
            labels.insert(JOB_LABEL.into(), job.to_string());
        }
        labels.into_iter().collect()
    }

    /// The memory limit of a job without a configured one, in bytes.
    async fn default_memory(&self) -> Option<u64> {
        let slots = self.settings.memory_shared_by?;
        // An engine that did not answer is asked again for the next job.
        let host = self.memory.get_or_try_init(|| async {
            let info = self.docker.info().await.map_err(|error| {
                tracing::warn!(%error, "no memory limit for this job: the engine does not say how \
                                        much memory there is");
            })?;
            let total = info.mem_total.and_then(|total| u64::try_from(total).ok());
            total.ok_or(())
        });
        let share = memory::share(*host.await.ok()?, slots);
        Some(share).filter(|&share| share > 0)
    }

    /// The mount shared by the slot's containers: its folder on the engine's host.
    ///
    /// The engine resolves the path at each start of a container. Nothing above the folder is ever
    /// mounted, so no job can replace the folder itself.
    fn builds_mount(&self, slot: usize) -> String {
        let runner = folder_name(&self.settings.common.runner.name);
        let root = self.settings.builds_root.display();
        format!("{root}/{runner}/slot-{slot}/build:{BUILDS_DIR}")
    }

    /// Forgets and returns the owner of the files in the slot's folder.
    fn forget_owner(&self, slot: usize) -> Option<Owner> {
        let mut owners = self.owners.lock();
        owners.remove(&slot)
    }

    /// Sets the owner of the files in the slot's folder.
    fn remember_owner(&self, slot: usize, owner: Owner) {
        let mut owners = self.owners.lock();
        owners.insert(slot, owner);
    }
}
