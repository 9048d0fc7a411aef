//! Freezes jobs by pausing their containers.

use std::collections::HashMap;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::query_parameters::ListContainersOptionsBuilder;
use futures::future::join_all;

use super::helper::Helper;
use super::job::DockerJob;
use super::{Inner, KIND_LABEL, RUNNER_LABEL, SLOT_LABEL, container};
use crate::error::Error;

/// How often to search for containers that were started, or not paused yet, in the meantime.
const ROUNDS: usize = 3;

/// Pauses every container of onspot on this host's engine, of all runners: for a watchdog that
/// cannot rely on the agent.
///
/// # Errors
/// If no engine answers, or something may still run.
pub async fn freeze_all() -> Result<(), Error> {
    pause(&super::engine(None).await?, &[KIND_LABEL.to_owned()]).await
}

impl Inner {
    /// Pauses everything in the slot.
    pub(super) async fn freeze(&self, slot: usize) -> Result<(), Error> {
        self.gates.close(slot).await;
        pause(&self.docker, &self.labels_of(slot)).await
    }

    /// Resumes everything in the slot.
    pub(super) async fn thaw(&self, slot: usize) -> Result<(), Error> {
        unpause(&self.docker, &self.labels_of(slot)).await?;
        self.gates.open(slot);
        Ok(())
    }

    fn labels_of(&self, slot: usize) -> [String; 2] {
        [
            format!("{RUNNER_LABEL}={}", self.settings.common.runner.name),
            format!("{SLOT_LABEL}={slot}"),
        ]
    }
}

impl DockerJob<'_> {
    /// A helper for the clean-up instead of a frozen one, which may be in the middle of something
    /// that must not continue.
    pub(super) async fn helper_at_the_end(&self, helper: Helper) -> Option<Helper> {
        if container::is_running(&self.inner.docker, &helper.id).await {
            return Some(helper);
        }
        container::remove(&self.inner.docker, &helper.id).await;
        if !self.has_secrets() {
            return None;
        }
        match self.inner.take_helper(self.run.slot).await {
            Ok(helper) => Some(helper),
            Err(error) => {
                tracing::warn!(%error, "a job's secrets stay in its slot's folder until the next job");
                None
            }
        }
    }
}

/// Pauses the running containers with all of these labels.
async fn pause(docker: &Docker, labels: &[String]) -> Result<(), Error> {
    for _ in 0..ROUNDS {
        let running = in_state(docker, labels, "running").await?;
        if running.is_empty() {
            return Ok(());
        }
        let pausing = running.iter().map(|id| async move {
            let paused = docker.pause_container(id).await;
            unless_settled(id, paused, "a container was not paused yet");
        });
        join_all(pausing).await;
    }
    match in_state(docker, labels, "running").await?.len() {
        0 => Ok(()),
        containers => Err(Error::NotFrozen { containers }),
    }
}

/// Resumes the paused containers with all of these labels.
async fn unpause(docker: &Docker, labels: &[String]) -> Result<(), Error> {
    let paused = in_state(docker, labels, "paused").await?;
    let unpausing = paused.iter().map(|id| async move {
        let unpaused = docker.unpause_container(id).await;
        unless_settled(id, unpaused, "a container was not unpaused");
    });
    join_all(unpausing).await;
    match in_state(docker, labels, "paused").await?.len() {
        0 => Ok(()),
        containers => Err(Error::NotThawed { containers }),
    }
}

/// The containers with all of these labels in a given state.
async fn in_state(docker: &Docker, labels: &[String], state: &str) -> Result<Vec<String>, Error> {
    let filters = HashMap::from([
        ("label", labels.to_vec()),
        ("status", vec![state.to_owned()]),
    ]);
    let options = ListContainersOptionsBuilder::default()
        .filters(&filters)
        .build();
    let found = docker.list_containers(Some(options)).await;
    let found = found.map_err(Error::docker("list the containers"))?;
    Ok(found.into_iter().filter_map(|found| found.id).collect())
}

/// It is no error if a container is gone or already in the desired state.
fn unless_settled(id: &str, answer: Result<(), DockerError>, what: &str) {
    match answer {
        Ok(())
        | Err(DockerError::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        }) => {}
        Err(error) => tracing::warn!(id, %error, "{what}"),
    }
}
