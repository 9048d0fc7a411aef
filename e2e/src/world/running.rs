//! A running world: starts, connects and removes its parts.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use aws_config::SdkConfig;
use bollard::Docker;
use jiff::Timestamp;
use onspot_mock_gitlab::{MockGitlab, NewRunner};

use super::cleanup::{Cleanup, Signals};
use super::localstack::LocalStack;
use super::network::Network;
use super::registry::Registry;
use super::sweep::{self, Which};
use crate::cloud::{Cloud, Credential, Credentials};
use crate::hypervisor::{self, Hypervisor};
use crate::images::{self, Step};
use crate::{Error, Result, engine};

/// The tag of the cowsay pipeline's jobs, which is also the runner's name.
pub const RUNNER: &str = "docker.m3";

/// The image of the cowsay pipeline's jobs.
pub const JOB_IMAGE: &str = images::COWSAY.name;

/// The images of this host that guests can pull, and their names on Docker Hub.
const MIRRORED: [(&str, &str); 3] = [
    (JOB_IMAGE, JOB_IMAGE),
    (images::REGISTRY.name, images::REGISTRY.name),
    (images::BASE, "library/debian:bookworm-slim"),
];

/// A world's options.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Its AWS region.
    pub region: String,
    /// Where it keeps its files: repositories, consoles, `onspot.toml`.
    pub dir: PathBuf,
    /// The mock GitLab's port on the gateway; 0 takes a free one.
    pub gitlab_port: u16,
    /// Whether `dir` is removed with the world when a signal ends the process.
    pub temporary: bool,
    /// Who removes the world when the process gets a signal.
    pub signals: Signals,
}

impl WorldOptions {
    /// The defaults, with files in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            region: "eu-west-1".to_owned(),
            dir: dir.into(),
            gitlab_port: 0,
            temporary: false,
            signals: Signals::EndProcess,
        }
    }

    /// The defaults, with a temporary folder for its files.
    pub fn temporary(dir: impl Into<PathBuf>) -> Self {
        Self {
            temporary: true,
            ..Self::new(dir)
        }
    }
}

/// A running world. It is removed by [`World::stop`], otherwise when it is dropped.
#[derive(Debug)]
pub struct World {
    id: String,
    options: WorldOptions,
    docker: Docker,
    gateway: IpAddr,
    operator: Credential,
    runner_token: String,
    machine_image: String,
    registry: Registry,
    cloud: Cloud,
    gitlab: MockGitlab,
    hypervisor: Hypervisor,
    localstack: LocalStack,
    started_at: Timestamp,
    cleanup: Cleanup,
}

impl World {
    /// Starts a world, building missing images. Leftovers of dead worlds are removed first.
    pub async fn start(options: WorldOptions) -> Result<Self> {
        Self::start_telling(options, &mut |_| {}).await
    }

    /// Like [`World::start`], reporting progress of the images.
    pub async fn start_telling(options: WorldOptions, tell: &mut dyn FnMut(Step)) -> Result<Self> {
        let docker = engine::connect().await?;
        sweep::sweep(&docker, Which::Dead).await?;
        images::ensure(&docker, &images::ALL, tell).await?;
        images::ensure_base(&docker, tell).await?;
        let begin = Instant::now();
        let id = new_id();
        let temporary = options.temporary.then(|| options.dir.clone());
        let mut cleanup = Cleanup::of(&id, options.signals, temporary)?;
        let dir = options.dir.clone();
        std::fs::create_dir_all(&dir).map_err(Error::io(format!("make {}", dir.display())))?;
        let network = Network::create(&docker, &id).await?;
        let (localstack, registry) = tokio::try_join!(
            LocalStack::start(&id, &options.region),
            started_registry(&docker, &id, network.gateway),
        )?;
        let credentials = Credentials::default();
        let operator = Credential::operator();
        credentials.add(operator.clone());
        let cloud = Cloud::serve(
            SocketAddr::new(network.gateway, 0),
            localstack.address().to_owned(),
            credentials.clone(),
        )
        .await?;
        let gitlab = serve_gitlab(&options, network.gateway).await?;
        let runner_token = gitlab.create_runner(NewRunner {
            description: RUNNER.to_owned(),
            tags: vec![RUNNER.to_owned()],
            run_untagged: true,
            ..NewRunner::default()
        });
        let hypervisor = Hypervisor::start(
            docker.clone(),
            hypervisor::Options {
                world: id.clone(),
                network: network.name.clone(),
                gateway: network.gateway,
                region: options.region.clone(),
                endpoint: format!("http://{}", localstack.address()),
                credentials,
                consoles: dir.join("consoles"),
            },
        )
        .await?;
        cleanup.watches(hypervisor.clone());
        let machine_image = hypervisor.ec2().register_image("debian-12-amd64").await?;
        tracing::info!(world = id, took = ?begin.elapsed(), "the world is up");
        Ok(Self {
            id,
            docker,
            gateway: network.gateway,
            operator,
            runner_token,
            machine_image,
            registry,
            cloud,
            gitlab,
            hypervisor,
            localstack,
            started_at: Timestamp::now(),
            cleanup,
            options,
        })
    }

    /// The world's id, which is part of all its names.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// When its start was complete.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The address of all parts.
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Its AWS region.
    pub fn region(&self) -> &str {
        &self.options.region
    }

    /// The Docker engine.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The AWS look-alike.
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// The mock GitLab.
    pub fn gitlab(&self) -> &MockGitlab {
        &self.gitlab
    }

    /// The instances' guests.
    pub fn hypervisor(&self) -> &Hypervisor {
        &self.hypervisor
    }

    /// The credentials of the person who runs `onspot up`.
    pub fn operator(&self) -> &Credential {
        &self.operator
    }

    /// The token of the runner that takes jobs tagged [`RUNNER`].
    pub fn runner_token(&self) -> &str {
        &self.runner_token
    }

    /// The id of the guests' machine image (AMI).
    pub fn machine_image(&self) -> &str {
        &self.machine_image
    }

    /// The registry for the guests.
    pub fn registry_mirror(&self) -> &str {
        &self.registry.mirror
    }

    /// The operator's SDK configuration, through the proxy.
    pub fn aws(&self) -> SdkConfig {
        hypervisor::ec2::sdk_config(&self.cloud.url(), self.region(), &self.operator)
    }

    /// The operator's SDK configuration directly to LocalStack, for calls that should not be
    /// recorded.
    pub fn aws_behind_the_proxy(&self) -> SdkConfig {
        let endpoint = format!("http://{}", self.localstack.address());
        hypervisor::ec2::sdk_config(&endpoint, self.region(), &self.operator)
    }

    /// Removes all parts of the world.
    pub async fn stop(mut self) -> Result<()> {
        let begin = Instant::now();
        self.hypervisor.stop().await;
        self.localstack.remove().await?;
        sweep::sweep(&self.docker, Which::World(&self.id)).await?;
        self.cleanup.disarm();
        tracing::info!(world = self.id, took = ?begin.elapsed(), "the world is gone");
        Ok(())
    }
}

async fn started_registry(docker: &Docker, world: &str, gateway: IpAddr) -> Result<Registry> {
    let registry = Registry::start(docker, world, gateway).await?;
    for (image, name) in MIRRORED {
        registry.push(docker, image, name).await?;
    }
    Ok(registry)
}

async fn serve_gitlab(options: &WorldOptions, gateway: IpAddr) -> Result<MockGitlab> {
    let bind = SocketAddr::new(gateway, options.gitlab_port);
    let dir = options.dir.join("gitlab");
    // Every server numbers from 1 again, so repositories of an earlier one must be removed.
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(format!("empty {}", dir.display()))(error));
        }
        _ => {}
    }
    let gitlab = MockGitlab::builder().bind(bind).dir(dir).start().await;
    gitlab.map_err(Error::gitlab("start"))
}

/// Eight hexadecimal digits.
fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..8].to_owned()
}
