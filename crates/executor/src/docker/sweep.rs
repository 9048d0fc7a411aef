//! Removes leftovers of a previous process, found by their labels.

use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use futures::future::join_all;

use super::removal::{remove_networks, remove_volumes};
use super::{KIND_LABEL, RUNNER_LABEL, container, kill};
use crate::error::Error;
use crate::run::Swept;

/// Where an engine of this host keeps what it knows of its containers.
const CONTAINERS: &str = "/var/lib/docker/containers";

/// Kills and removes every container, volume and network of onspot on this host's engine, of all
/// runners: for a watchdog whose agent is dead or has lost its lease. What the engine has not
/// killed within `limit` is killed without it.
///
/// # Errors
/// If no engine answers in time, or it cannot list its containers. Their processes were killed all
/// the same, but try again: the engine may start others later.
pub async fn kill_all(limit: Duration) -> Result<Swept, Error> {
    let asked = async { sweep(&super::engine(None).await?, None).await };
    let error = match tokio::time::timeout(limit, asked).await {
        Ok(Ok(swept)) => return Ok(swept),
        Ok(Err(error)) => error,
        Err(_elapsed) => Error::NoEngine {
            source: bollard::errors::Error::RequestTimeoutError,
        },
    };
    tracing::error!(%error, "killing the jobs' processes without the engine");
    kill::kill_without_engine(Path::new(CONTAINERS), KIND_LABEL).await;
    Err(error)
}

/// Does this for one runner, or for all.
pub(super) async fn sweep(docker: &Docker, runner: Option<&str>) -> Result<Swept, Error> {
    let label = match runner {
        Some(runner) => format!("{RUNNER_LABEL}={runner}"),
        None => KIND_LABEL.to_owned(),
    };
    let labels = [label.clone()];
    // Those that are kept for later jobs are of another kind.
    let ending = [label, format!("{KIND_LABEL}=volume")];
    let mut swept = Swept::default();

    let containers = container::labelled(docker, &labels).await;
    let containers = containers.map_err(Error::docker("list the containers"))?;
    let mut ids = Vec::new();
    for found in containers {
        let kind = found
            .labels
            .as_ref()
            .and_then(|labels| labels.get(KIND_LABEL));
        match kind.map(String::as_str) {
            Some("helper") => swept.helpers += 1,
            Some(_) => swept.job_containers += 1,
            None => continue,
        }
        ids.extend(found.id);
    }
    // Concurrently, because an ended lease leaves no time to do it one by one.
    join_all(ids.iter().map(|id| container::remove(docker, id))).await;

    remove_volumes(docker, &ending).await;
    swept.networks = remove_networks(docker, &labels).await?;
    Ok(swept)
}
