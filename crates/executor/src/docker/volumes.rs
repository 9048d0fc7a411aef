//! Volumes of one attempt of a job: the bare paths among the settings (`/certs/client`), shared by
//! the job and its services. Docker in Docker hands its certificates to the job by one.

use std::collections::HashMap;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder};
use bollard::{Docker, errors::Error};

use super::helper::short_id;
use super::job::DockerJob;
use crate::error::ExecutorError;

impl DockerJob<'_> {
    /// Makes a volume for each bare path. They are found again, and removed, by their labels.
    pub(super) async fn make_volumes(&mut self) -> Result<(), ExecutorError> {
        let settings = &self.inner.settings;
        let (volumes, options) = (settings.volumes.clone(), &settings.volume_driver_ops);
        let driver = settings
            .volume_driver
            .clone()
            .filter(|name| !name.is_empty());
        for path in volumes.iter().filter(|volume| !volume.contains(':')) {
            let name = format!("onspot-{}-{}", self.run.payload.id, short_id());
            self.volumes.push(format!("{name}:{path}"));
            let request = VolumeCreateRequest {
                name: Some(name),
                driver: driver.clone(),
                driver_opts: (!options.is_empty()).then(|| options.clone().into_iter().collect()),
                labels: Some(self.labels("volume")),
                ..VolumeCreateRequest::default()
            };
            let docker = self.inner.docker.clone();
            self.made(async move { docker.create_volume(request).await })
                .await?
                .map_err(ExecutorError::docker("create the job's volume"))?;
        }
        Ok(())
    }
}

/// Removes all volumes with these labels (`onspot.slot=1`). Nothing may use them any more.
pub(super) async fn remove_labelled(docker: &Docker, labels: &[String]) {
    let filters = HashMap::from([("label", labels.to_vec())]);
    let options = ListVolumesOptionsBuilder::default()
        .filters(&filters)
        .build();
    let volumes = match docker.list_volumes(Some(options)).await {
        Ok(found) => found.volumes.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "the volumes were not listed");
            return;
        }
    };
    for volume in volumes {
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        match docker.remove_volume(&volume.name, Some(options)).await {
            Ok(())
            | Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => {}
            Err(error) => {
                tracing::warn!(name = volume.name, %error, "a volume was not removed");
            }
        }
    }
}
