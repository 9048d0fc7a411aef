//! Removes leftovers of a previous process, found by their labels.

use bollard::Docker;
use futures::future::join_all;

use super::removal::{remove_networks, remove_volumes};
use super::{KIND_LABEL, RUNNER_LABEL, container};
use crate::error::ExecutorError;
use crate::run::Swept;

/// Kills and removes every container, volume and network of onspot on this host's engine, of all
/// runners: for a watchdog whose agent is dead or has lost its lease.
///
/// # Errors
/// If no engine answers, or it cannot list its containers.
pub async fn kill_all() -> Result<Swept, ExecutorError> {
    sweep(&super::engine(None).await?, None).await
}

/// Does this for one runner, or for all.
pub(super) async fn sweep(docker: &Docker, runner: Option<&str>) -> Result<Swept, ExecutorError> {
    let label = match runner {
        Some(runner) => format!("{RUNNER_LABEL}={runner}"),
        None => KIND_LABEL.to_owned(),
    };
    let labels = [label.clone()];
    // Those that are kept for later jobs are of another kind.
    let ending = [label, format!("{KIND_LABEL}=volume")];
    let mut swept = Swept::default();

    let containers = container::labelled(docker, &labels).await;
    let containers = containers.map_err(ExecutorError::docker("list the containers"))?;
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
