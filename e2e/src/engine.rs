//! Calls to the Docker engine.

pub mod labels;

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures::StreamExt;

use crate::{Error, Result};

/// Connects to the engine in `DOCKER_HOST`, otherwise to the local one.
pub async fn connect() -> Result<Docker> {
    let docker = Docker::connect_with_defaults().map_err(Error::docker("connect to the engine"))?;
    docker
        .ping()
        .await
        .map_err(Error::docker("reach the engine"))?;
    Ok(docker)
}

/// A container of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The container's id.
    pub id: String,
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// Whether its first process is alive.
    pub running: bool,
}

impl From<ContainerSummary> for Found {
    fn from(summary: ContainerSummary) -> Self {
        // A container being created counts as running, because it has not ended.
        let ended = matches!(
            summary.state,
            Some(ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD)
        );
        Self {
            id: summary.id.unwrap_or_default(),
            labels: summary.labels.unwrap_or_default(),
            running: !ended,
        }
    }
}

/// All containers, including dead ones, with `label` (`key` or `key=value`).
pub async fn containers(docker: &Docker, label: &str) -> Result<Vec<Found>> {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let found = docker
        .list_containers(Some(options))
        .await
        .map_err(Error::docker("list containers"))?;
    Ok(found.into_iter().map(Found::from).collect())
}

/// Removes a container with its anonymous volumes, running or not; a missing one is fine.
pub async fn remove(docker: &Docker, id: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    gone_is_fine(docker.remove_container(id, Some(options)).await)
        .map_err(Error::docker(format!("remove the container {id}")))
}

/// Stops a container with its stop signal, then by force.
pub async fn stop(docker: &Docker, id: &str, patience: Duration) -> Result<()> {
    let seconds = i32::try_from(patience.as_secs()).unwrap_or(i32::MAX);
    let options = StopContainerOptionsBuilder::new().t(seconds).build();
    gone_is_fine(docker.stop_container(id, Some(options)).await)
        .map_err(Error::docker(format!("stop the container {id}")))
}

/// Kills a container with SIGKILL.
pub async fn kill(docker: &Docker, id: &str) -> Result<()> {
    let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
    gone_is_fine(docker.kill_container(id, Some(options)).await)
        .map_err(Error::docker(format!("kill the container {id}")))
}

/// 404: it does not exist. 409: it is already being removed, or not running. 304: it is already
/// stopped.
fn gone_is_fine(result: Result<(), bollard::errors::Error>) -> Result<(), bollard::errors::Error> {
    match result {
        Err(bollard::errors::Error::DockerResponseServerError {
            status_code: 304 | 404 | 409,
            ..
        }) => Ok(()),
        other => other,
    }
}

/// The output of a container so far.
pub async fn logs(docker: &Docker, id: &str) -> String {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
    let mut stream = docker.logs(id, Some(options));
    let mut text = String::new();
    while let Some(Ok(part)) = stream.next().await {
        text.push_str(&part.to_string());
    }
    text
}

/// Runs a program in a new container of `world` from `image`, and removes it; returns the program's
/// output.
pub async fn run(docker: &Docker, world: &str, image: &str, command: &[&str]) -> Result<String> {
    let what = || format!("run {} in {image}", command.join(" "));
    let words = command.iter().map(|&word| word.to_owned()).collect();
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(words),
        labels: Some(labels::of(world, "program")),
        ..ContainerCreateBody::default()
    };
    let created = docker
        .create_container(None, body)
        .await
        .map_err(Error::docker(what()))?;
    let ran = async {
        let started = docker.start_container(&created.id, None).await;
        started.map_err(Error::docker(what()))?;
        let mut ended = docker.wait_container(&created.id, None::<WaitContainerOptions>);
        while let Some(end) = ended.next().await {
            end.map_err(Error::docker(what()))?;
        }
        Ok(logs(docker, &created.id).await)
    };
    let printed = ran.await;
    remove(docker, &created.id).await?;
    printed
}

/// Runs a program in a container; returns its exit code and output.
pub async fn exec(docker: &Docker, id: &str, command: &[&str]) -> Result<(i64, String)> {
    let what = || format!("run {} in the container {id}", command.join(" "));
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..CreateExecOptions::default()
    };
    let exec = docker
        .create_exec(id, options)
        .await
        .map_err(Error::docker(what()))?;
    let started = docker
        .start_exec(&exec.id, None)
        .await
        .map_err(Error::docker(what()))?;
    let mut text = String::new();
    if let StartExecResults::Attached { mut output, .. } = started {
        while let Some(part) = output.next().await {
            text.push_str(&part.map_err(Error::docker(what()))?.to_string());
        }
    }
    let ended = docker
        .inspect_exec(&exec.id)
        .await
        .map_err(Error::docker(what()))?;
    Ok((ended.exit_code.unwrap_or(-1), text))
}
