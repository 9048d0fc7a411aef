//! Containers: running scripts on their standard input, stopping and removing them.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as DockerError;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, ContainerSummary, HealthConfig,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptions,
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures::StreamExt;
use onspot_gitlab::{Stream, TraceWriter};
use tokio::io::AsyncWriteExt;
use tokio::sync::RwLockReadGuard;
use tokio::time::timeout;

use super::kill::kill_paused;
use super::out_of_memory::{self, Memory, Watch};
use crate::error::Error;
use crate::gate::Gate;

/// How long a script may take to end after the request to end.
const GRACE: Duration = Duration::from_secs(5);
/// How many times a container that may still run is removed and killed.
const END_TRIES: u32 = 2;
/// How long the engine may take to report a killed container as dead.
const DEATH: Duration = Duration::from_secs(20);

/// Disables the image's health check, which would only cost time.
pub(super) fn no_health_check() -> HealthConfig {
    HealthConfig {
        test: Some(vec!["NONE".into()]),
        ..HealthConfig::default()
    }
}

/// Creates a container and returns its id. An empty platform means the host's.
pub(super) async fn create(
    docker: &Docker,
    platform: &str,
    body: ContainerCreateBody,
) -> Result<String, DockerError> {
    let mut options = CreateContainerOptionsBuilder::default();
    if !platform.is_empty() {
        options = options.platform(platform);
    }
    let created = docker.create_container(Some(options.build()), body).await?;
    Ok(created.id)
}

/// Starts a container, sends it a script and forwards its output until it ends.
pub(super) async fn run(
    docker: &Docker,
    id: &str,
    script: &str,
    gate: &Gate,
    trace: &TraceWriter,
) -> Result<i32, Error> {
    let options = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .build();
    let (attached, memory) = tokio::join!(
        docker.attach_container(id, Some(options)),
        Memory::of(docker, id)
    );
    let mut watch = Watch::new(memory);
    let script = watch.before() + script;
    let mut attached = attached.map_err(Error::docker("attach to the job's container"))?;
    start(docker, id, gate)
        .await
        .map_err(Error::docker("start the job's container"))?;
    let write = async {
        // A shell may end before it has read everything; that is not an error.
        let _ = attached.input.write_all(script.as_bytes()).await;
        let _ = attached.input.shutdown().await;
    };
    let (output, errors) = (trace.stream(Stream::OUTPUT), trace.stream(Stream::ERRORS));
    let read = async {
        while let Some(chunk) = attached.output.next().await {
            match chunk {
                Ok(chunk) => {
                    watch.note(chunk.as_ref());
                    match &chunk {
                        LogOutput::StdErr { message } => errors.write(message),
                        other => output.write(other.as_ref()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    let ((), read) = tokio::join!(write, read);
    drop((output, errors));
    read.map_err(Error::docker("read the job's output"))?;
    let code = exit_code(docker, id).await?;
    // The kernel kills a single process; the shell may have continued and ended with another code.
    if code != 0
        && !watch.has_said()
        && let Some(what) = out_of_memory::of_container(docker, id, code).await
    {
        trace.error(&out_of_memory::sentence(&what));
    }
    Ok(code)
}

/// Starts a container of a job, waiting while its slot is frozen.
pub(super) async fn start(docker: &Docker, id: &str, gate: &Gate) -> Result<(), DockerError> {
    let _pass = gate.pass().await;
    docker.start_container(id, None).await
}

/// Waits until a container is dead and returns its exit code.
pub(super) async fn exit_code(docker: &Docker, id: &str) -> Result<i32, Error> {
    let options = WaitContainerOptionsBuilder::default()
        .condition("not-running")
        .build();
    let mut wait = std::pin::pin!(docker.wait_container(id, Some(options)));
    let code = match wait.next().await {
        Some(Ok(response)) => response.status_code,
        Some(Err(DockerError::DockerContainerWaitError { code, .. })) => code,
        Some(Err(error)) => return Err(Error::docker("wait for the container")(error)),
        None => -1,
    };
    Ok(i32::try_from(code).unwrap_or(-1))
}

/// The exit code of a container that is no longer running.
pub(super) async fn died(docker: &Docker, id: &str) -> Option<i32> {
    let state = docker.inspect_container(id, None).await.ok()?.state?;
    let over = state.status == Some(ContainerStateStatusEnum::EXITED)
        || state.status == Some(ContainerStateStatusEnum::DEAD);
    over.then(|| i32::try_from(state.exit_code.unwrap_or(-1)).unwrap_or(-1))
}

/// The end of a container's log, both output streams, at most this many bytes.
pub(super) async fn logs(docker: &Docker, id: &str, most: usize) -> Result<Vec<u8>, DockerError> {
    let options = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .build();
    let mut logs = docker.logs(id, Some(options));
    let mut end = Vec::new();
    while let Some(chunk) = logs.next().await {
        end.extend_from_slice(chunk?.as_ref());
        if end.len() > 2 * most {
            end.drain(..end.len() - most);
        }
    }
    end.drain(..end.len().saturating_sub(most));
    if end.last().is_some_and(|&last| last != b'\n') {
        end.push(b'\n');
    }
    Ok(end)
}

/// Whether a container runs.
pub(super) async fn is_running(docker: &Docker, id: &str) -> bool {
    let Ok(container) = docker.inspect_container(id, None).await else {
        return false;
    };
    let status = container.state.and_then(|state| state.status);
    status == Some(ContainerStateStatusEnum::RUNNING)
}

/// Ends the processes in a container: first by request, then by force. The container itself stays.
pub(super) async fn stop(docker: &Docker, id: &str) {
    let asked = async {
        // The first process is a shell, which ignores the signal and waits for its child; so all
        // other processes get it.
        let options = CreateExecOptions {
            cmd: Some(vec!["sh", "-c", "kill -s TERM -1"]),
            user: Some("0"),
            ..CreateExecOptions::default()
        };
        let exec = docker.create_exec(id, options).await.ok()?;
        let options = StartExecOptions {
            detach: true,
            ..StartExecOptions::default()
        };
        docker.start_exec(&exec.id, Some(options)).await.ok()?;
        exit_code(docker, id).await.ok()
    };
    if timeout(GRACE, asked).await.ok().flatten().is_none() {
        kill(docker, id).await;
    }
}

/// Kills a container and waits until it is dead.
pub(super) async fn kill(docker: &Docker, id: &str) {
    kill_paused(docker, id).await;
    let killed = docker
        .kill_container(id, None::<KillContainerOptions>)
        .await;
    if let Err(error) = killed {
        tracing::debug!(id, %error, "not killed: it is dead already");
    }
    if timeout(DEATH, exit_code(docker, id)).await.is_err() {
        tracing::warn!(
            id,
            "the engine has not said that a killed container is dead"
        );
    }
}

/// Removes a container with its anonymous volumes, running or not.
pub(super) async fn remove(docker: &Docker, id: &str) {
    kill_paused(docker, id).await;
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    match docker.remove_container(id, Some(options)).await {
        Ok(())
        | Err(DockerError::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        }) => {}
        Err(error) => tracing::warn!(id, %error, "a container was not removed"),
    }
}

/// Removes a container, and makes sure that nothing in it is still running.
pub(super) async fn end(docker: &Docker, id: &str) -> Result<(), Error> {
    for _ in 0..END_TRIES {
        remove(docker, id).await;
        if !may_run(docker, id).await {
            return Ok(());
        }
        kill(docker, id).await;
    }
    if may_run(docker, id).await {
        let container = id.to_owned();
        return Err(Error::StillRunning { container });
    }
    Ok(())
}

/// Whether something may still run in a container; only the engine's explicit "no" counts.
async fn may_run(docker: &Docker, id: &str) -> bool {
    match docker.inspect_container(id, None).await {
        Ok(container) => container.state.and_then(|state| state.running) != Some(false),
        Err(DockerError::DockerResponseServerError {
            status_code: 404, ..
        }) => false,
        Err(_) => true,
    }
}

/// The containers with all of these labels (`onspot.slot=1`), running or not.
pub(super) async fn labelled(
    docker: &Docker,
    labels: &[String],
) -> Result<Vec<ContainerSummary>, DockerError> {
    let filters = HashMap::from([("label", labels.to_vec())]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    docker.list_containers(Some(options)).await
}

/// The result of a program in a container.
pub(super) struct Executed {
    /// Its standard output.
    pub(super) output: Vec<u8>,
    /// Its exit code; -1 if it was killed.
    pub(super) exit_code: i64,
}

/// A program to run in a container.
pub(super) struct Program<'a> {
    /// It and its arguments.
    pub(super) command: &'a [&'a str],
    /// `NAME=value`, besides the container's own.
    pub(super) env: &'a [String],
    /// Its standard input.
    pub(super) input: &'a [u8],
    /// The gate to pass before it starts, if it belongs to a job.
    pub(super) gate: Option<&'a Gate>,
}

/// Runs a program in a container and forwards its standard error.
pub(super) async fn exec(
    docker: &Docker,
    id: &str,
    program: Program<'_>,
    mut errors: impl FnMut(&[u8]),
) -> Result<Executed, Error> {
    let failed = |error| Error::docker("call the helper")(error);
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(program.command.to_vec()),
        env: Some(program.env.iter().map(String::as_str).collect()),
        ..CreateExecOptions::default()
    };
    let (exec, started) = {
        let _pass = passed(program.gate).await;
        let exec = docker.create_exec(id, options).await.map_err(failed)?;
        let started = docker.start_exec(&exec.id, None).await.map_err(failed)?;
        (exec, started)
    };
    let StartExecResults::Attached {
        output: mut stream,
        input: mut stdin,
    } = started
    else {
        return Ok(Executed {
            output: Vec::new(),
            exit_code: -1,
        });
    };
    let write = async {
        let _ = stdin.write_all(program.input).await;
        let _ = stdin.flush().await;
        // Kept open until the program has ended: some engines end the whole connection when one
        // side of it is closed.
        stdin
    };
    let read = async {
        let mut output = Vec::new();
        while let Some(chunk) = stream.next().await {
            match chunk? {
                LogOutput::StdErr { message } => errors(&message),
                other => output.extend_from_slice(other.as_ref()),
            }
        }
        Ok::<_, DockerError>(output)
    };
    let (_stdin, output) = tokio::join!(write, read);
    let output = output.map_err(failed)?;
    let exit_code = executed_code(docker, &exec.id, program.gate).await?;
    Ok(Executed { output, exit_code })
}

async fn passed(gate: Option<&Gate>) -> Option<RwLockReadGuard<'_, ()>> {
    match gate {
        Some(gate) => Some(gate.pass().await),
        None => None,
    }
}

/// The exit code of a program, which the engine may know a moment after the end of its output.
async fn executed_code(docker: &Docker, exec: &str, gate: Option<&Gate>) -> Result<i64, Error> {
    for _ in 0..100 {
        // A frozen program does not end; keep waiting for it.
        drop(passed(gate).await);
        let state = docker
            .inspect_exec(exec)
            .await
            .map_err(Error::docker("ask the helper"))?;
        if let (Some(false), Some(code)) = (state.running, state.exit_code) {
            return Ok(code);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(-1)
}
