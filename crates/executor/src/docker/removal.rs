//! Removes volumes and networks by their labels.

use std::collections::HashMap;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::query_parameters::{
    ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder,
};

use crate::error::Error;

/// Removes all volumes with these labels (`onspot.slot=1`). No container may still use them.
pub(super) async fn remove_volumes(docker: &Docker, labels: &[String]) {
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
            | Err(DockerError::DockerResponseServerError {
                status_code: 404, ..
            }) => {}
            Err(error) => {
                tracing::warn!(name = volume.name, %error, "a volume was not removed");
            }
        }
    }
}

/// Removes the networks with all of these labels, and returns how many there were.
pub(super) async fn remove_networks(docker: &Docker, labels: &[String]) -> Result<usize, Error> {
    let filters = HashMap::from([("label", labels.to_vec())]);
    let mut removed = 0;
    let options = ListNetworksOptionsBuilder::default()
        .filters(&filters)
        .build();
    let networks = docker.list_networks(Some(options)).await;
    for network in networks.map_err(Error::docker("list the networks"))? {
        let Some(id) = network.id else { continue };
        match docker.remove_network(&id).await {
            Ok(()) => removed += 1,
            Err(error) => tracing::warn!(id, %error, "a network was not removed"),
        }
    }
    Ok(removed)
}
