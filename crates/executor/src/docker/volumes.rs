//! Volumes of jobs: the bare paths of the settings (`/cache`, `/certs/client`), shared by the job
//! and its services. Docker in Docker passes its certificates to the job by one.

use std::collections::HashMap;

use bollard::errors::Error as DockerError;
use bollard::models::{ContainerCreateBody, VolumeCreateRequest};

use super::helper::short_id;
use super::job::DockerJob;
use super::{BUILDS_DIR, JOB_LABEL, KIND_LABEL, Owner, container, host_config};
use crate::error::Error;
use crate::plan::volumes::{Keeper, Mount, of_job};
use crate::settings::folder_name;

impl DockerJob<'_> {
    /// Makes the volumes that are not there yet, and notes all mounts. The volumes that end with
    /// the job are found again, and removed, by their labels.
    pub(super) async fn make_volumes(&mut self) -> Result<(), Error> {
        let settings = &self.inner.settings;
        let owner = Owner::of(&self.run.payload);
        let keeper = Keeper {
            runner: &folder_name(&settings.common.runner.name),
            slot: self.run.slot,
            project: owner.project,
            protected: owner.protected,
        };
        let variables = &self.plan.variables;
        let mounts = of_job(&settings.docker, variables, &keeper, BUILDS_DIR)?;
        let mut new = Vec::new();
        for mount in mounts {
            let (name, target, kind) = match mount {
                Mount::Given(mount) => {
                    self.volumes.push(mount);
                    continue;
                }
                Mount::Kept { name, target } => (name, target, "cache"),
                Mount::Fresh { target } => {
                    let name = format!("onspot-{}-{}", self.run.payload.id, short_id());
                    (name, target, "volume")
                }
            };
            self.volumes.push(format!("{name}:{target}"));
            if kind == "volume" || !self.is_there(&name).await? {
                self.make_volume(&name, kind).await?;
                new.push(name);
            }
        }
        self.open_to_all(&new).await
    }

    async fn is_there(&self, volume: &str) -> Result<bool, Error> {
        match self.inner.docker.inspect_volume(volume).await {
            Ok(_) => Ok(true),
            Err(DockerError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(false),
            Err(error) => Err(Error::docker("look for the job's volume")(error)),
        }
    }

    async fn make_volume(&self, name: &str, kind: &str) -> Result<(), Error> {
        let settings = &self.inner.settings.docker;
        let options = &settings.volume_driver_ops;
        let driver = settings.volume_driver.clone();
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            driver: driver.filter(|name| !name.is_empty()),
            driver_opts: (!options.is_empty()).then(|| options.clone().into_iter().collect()),
            labels: Some(self.labels_of_volume(kind)),
            ..VolumeCreateRequest::default()
        };
        let docker = self.inner.docker.clone();
        self.made(async move { docker.create_volume(request).await })
            .await?
            .map_err(Error::docker("create the job's volume"))
            .map(drop)
    }

    /// What is kept is of no single job: nothing that ends one finds it.
    fn labels_of_volume(&self, kind: &str) -> HashMap<String, String> {
        let mut labels = self.labels(kind);
        if labels.get(KIND_LABEL).is_some_and(|kind| kind == "cache") {
            labels.remove(JOB_LABEL);
        }
        labels
    }

    /// A new volume is root's: the users of all images may write to it, as with GitLab Runner.
    async fn open_to_all(&self, volumes: &[String]) -> Result<(), Error> {
        if volumes.is_empty() {
            return Ok(());
        }
        let targets = (0..volumes.len()).map(|index| format!("/new/{index}"));
        let binds = volumes.iter().zip(targets.clone());
        let binds = binds.map(|(name, target)| format!("{name}:{target}:nocopy"));
        let settings = &self.inner.settings.docker;
        let config = host_config::of_helper(settings, Some(self.run.slot), binds.collect());
        let body = ContainerCreateBody {
            image: Some(self.inner.prove().await?.to_owned()),
            entrypoint: Some(vec!["chmod".into(), "0777".into()]),
            cmd: Some(targets.collect()),
            labels: Some(self.labels("helper")),
            healthcheck: Some(container::no_health_check()),
            host_config: Some(config),
            ..ContainerCreateBody::default()
        };
        let docker = self.inner.docker.clone();
        let created = self
            .made(async move { container::create(&docker, "", body).await })
            .await?;
        let id = created.map_err(Error::docker("prepare the job's volumes"))?;
        let docker = &self.inner.docker;
        let opened = async {
            let started = container::start(docker, &id, &self.gate).await;
            started.map_err(Error::docker("prepare the job's volumes"))?;
            container::exit_code(docker, &id).await
        };
        let opened = opened.await;
        container::remove(docker, &id).await;
        match opened? {
            0 => Ok(()),
            code => Err(Error::Helper {
                what: "prepare the job's volumes".into(),
                exit_code: code.into(),
            }),
        }
    }
}
