//! Volumes of one attempt of a job: the bare paths in the settings (`/certs/client`), shared by the
//! job and its services. Docker in Docker uses one to pass its certificates to the job.

use bollard::models::VolumeCreateRequest;

use super::helper::short_id;
use super::job::DockerJob;
use crate::error::ExecutorError;

impl DockerJob<'_> {
    /// Creates a volume for each bare path. Labels serve to find and remove them.
    pub(super) async fn make_volumes(&mut self) -> Result<(), ExecutorError> {
        let settings = &self.inner.settings.docker;
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
