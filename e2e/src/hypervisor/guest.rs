//! A guest: a container with systemd, its own Docker and its own network namespace.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, SystemInfoCgroupVersionEnum,
};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use crate::engine::{self, labels};
use crate::{Error, Result, images};

/// Limits of a guest: bytes of memory and number of processes.
const MEMORY: i64 = 4 << 30;
const PROCESSES: i64 = 4_096;

/// Starts guests of one world.
#[derive(Debug)]
pub(super) struct GuestMaker {
    docker: Docker,
    world: String,
    network: String,
    /// Whether `--privileged` works. On machines that lack a capability themselves it is refused;
    /// then guests get all other capabilities. The first guest finds out.
    privileged: AtomicBool,
    cgroup_v1: bool,
}

impl GuestMaker {
    pub(super) async fn new(docker: Docker, world: &str, network: &str) -> Result<Self> {
        let info = docker
            .info()
            .await
            .map_err(Error::docker("ask the engine about itself"))?;
        Ok(Self {
            docker,
            world: world.to_owned(),
            network: network.to_owned(),
            privileged: AtomicBool::new(true),
            cgroup_v1: info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1),
        })
    }

    /// Starts a guest for `instance` whose metadata service listens at `imds`; returns the
    /// container's id.
    pub(super) async fn start(&self, instance: &str, imds: SocketAddr) -> Result<String> {
        let privileged = self.privileged.load(Ordering::Relaxed);
        match self.try_start(instance, imds, privileged).await {
            Err(error) if privileged => {
                tracing::debug!(error = crate::chain(&error), "no privileged guests here");
                let id = self.try_start(instance, imds, false).await?;
                self.privileged.store(false, Ordering::Relaxed);
                Ok(id)
            }
            other => other,
        }
    }

    async fn try_start(
        &self,
        instance: &str,
        imds: SocketAddr,
        privileged: bool,
    ) -> Result<String> {
        let mut guest_labels = labels::of(&self.world, "guest");
        guest_labels.insert(labels::INSTANCE.to_owned(), instance.to_owned());
        let body = ContainerCreateBody {
            image: Some(images::GUEST.name.to_owned()),
            hostname: Some(instance.to_owned()),
            env: Some(vec![format!("ONSPOT_IMDS={imds}")]),
            labels: Some(guest_labels),
            // `docker logs` shows the console, with the output of systemd and the journal.
            tty: Some(true),
            host_config: Some(self.host_config(privileged)),
            ..ContainerCreateBody::default()
        };
        let name = format!("onspot-{}-{instance}", self.world);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let created = self
            .docker
            .create_container(Some(options), body)
            .await
            .map_err(Error::docker(format!("make the guest of {instance}")))?;
        let started = self
            .docker
            .start_container(&created.id, None)
            .await
            .map_err(Error::docker(format!("start the guest of {instance}")));
        if let Err(error) = started {
            engine::remove(&self.docker, &created.id).await?;
            return Err(error);
        }
        Ok(created.id)
    }

    fn host_config(&self, privileged: bool) -> HostConfig {
        let tmpfs = ["/run", "/run/lock", "/tmp"];
        let mut config = HostConfig {
            network_mode: Some(self.network.clone()),
            memory: Some(MEMORY),
            pids_limit: Some(PROCESSES),
            tmpfs: Some(
                tmpfs
                    .map(|path| (path.to_owned(), "exec".to_owned()))
                    .into(),
            ),
            privileged: Some(privileged),
            ..HostConfig::default()
        };
        if self.cgroup_v1 {
            config.cgroupns_mode = Some(HostConfigCgroupnsModeEnum::HOST);
            config.binds = Some(vec!["/sys/fs/cgroup:/sys/fs/cgroup:rw".to_owned()]);
        } else {
            config.cgroupns_mode = Some(HostConfigCgroupnsModeEnum::PRIVATE);
        }
        if !privileged {
            config.cap_add = Some(vec!["ALL".to_owned()]);
            config.cap_drop = Some(vec!["SYS_RESOURCE".to_owned()]);
            config.security_opt = Some(
                ["seccomp=unconfined", "apparmor=unconfined"]
                    .map(str::to_owned)
                    .to_vec(),
            );
            // `--security-opt systempaths=unconfined`
            config.masked_paths = Some(Vec::new());
            config.readonly_paths = Some(Vec::new());
            if !self.cgroup_v1 {
                config.binds = Some(vec!["/sys/fs/cgroup:/sys/fs/cgroup:rw".to_owned()]);
                config.cgroupns_mode = Some(HostConfigCgroupnsModeEnum::HOST);
            }
        }
        config
    }
}

/// Whether each guest of a world is running, by container id.
pub(super) async fn running(docker: &Docker, world: &str) -> Result<HashMap<String, bool>> {
    let found = engine::containers(docker, &format!("{}={world}", labels::WORLD)).await?;
    let guests = found.into_iter().filter(|found| {
        found
            .labels
            .get(labels::PART)
            .is_some_and(|part| part == "guest")
    });
    Ok(guests.map(|guest| (guest.id, guest.running)).collect())
}
