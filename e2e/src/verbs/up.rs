//! `onspot-world up`: from nothing to the cowsay pipeline's ghost.

use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::images::tell;
use super::process::{onspot, run_shown, terminate};
use crate::poll::{self, Look};
use crate::push::{OutputFormat, PushArgs};
use crate::world::program;
use crate::world::state::{FOLDER, WorldState};
use crate::world::{Which, sweep};
use crate::{Error, Result, cowsay, duration, engine, images};

/// How long the world's process may take to start the world.
const WORLD_BOUND: Duration = Duration::from_mins(5);

/// Starts what is missing, in this order: images, world, stack; then pushes cowsay.
pub(super) async fn run(folder: &Path) -> Result<ExitCode> {
    let begin = Instant::now();
    let state = world(folder).await?;
    anstream::println!(
        "world {}: AWS {}  GitLab {}",
        state.id,
        state.aws_url,
        state.gitlab_url
    );
    stack(&state, folder).await?;
    let cowsay = images::repository().join("fixtures/cowsay");
    anstream::println!("pushing {}", cowsay.display());
    let code = crate::push::run(PushArgs {
        dir: cowsay,
        output: OutputFormat::Text,
        url: None,
        token: None,
        project: None,
    })
    .await;
    if code != 0 {
        return Ok(code.into());
    }
    let trace = trace_of(&state, "verify").await?;
    anstream::println!(
        "\nThe ghost, from the trace of verify:\n\n{}",
        cowsay::ghost(&trace)
    );
    anstream::println!(
        "All that took {}. Now you can",
        duration::rough(begin.elapsed())
    );
    anstream::println!("  look at the pipelines     {}", state.gitlab_url);
    anstream::println!("  look at the stack         just status");
    anstream::println!("  push a project of yours   just push DIR");
    anstream::println!("  remove it all             just down");
    Ok(ExitCode::SUCCESS)
}

/// The running world of `folder`, started if there is none.
async fn world(folder: &Path) -> Result<WorldState> {
    if let Ok(state) = WorldState::running(folder) {
        return Ok(state);
    }
    let begin = Instant::now();
    let docker = engine::connect().await?;
    let swept = sweep::sweep(&docker, Which::Dead).await?;
    if swept > 0 {
        anstream::println!("removed what a dead world left ({swept} things)");
    }
    images::ensure(&docker, &images::ALL, &mut tell).await?;
    let mut child = serve(folder)?;
    let up = poll::until("the world is up", WORLD_BOUND, || {
        let ended = child.try_wait();
        async move {
            if let Ok(Some(status)) = ended {
                return Ok(Look::There(Err(status)));
            }
            Ok(match WorldState::running(folder) {
                Ok(state) => Look::There(Ok(state)),
                Err(error) => Look::NotYet(error.to_string()),
            })
        }
    });
    let state = tokio::select! {
        state = up => state,
        _ = tokio::signal::ctrl_c() => Err(Error::Other("the world was not waited for".to_owned())),
    };
    let state = match state {
        Ok(state) => state,
        Err(error) => {
            terminate(child.id())?;
            return Err(error);
        }
    };
    let log = folder.join(FOLDER).join("world.log");
    let state = state.map_err(|status| Error::Command {
        command: "onspot-world serve".to_owned(),
        status: status.to_string(),
        output: std::fs::read_to_string(&log).unwrap_or_default(),
    })?;
    anstream::println!(
        "the world is up ({}); its log: {}",
        duration::rough(begin.elapsed()),
        log.display()
    );
    Ok(state)
}

/// Starts the world's process, which outlives this one.
fn serve(folder: &Path) -> Result<Child> {
    let ours = folder.join(FOLDER);
    std::fs::create_dir_all(&ours).map_err(Error::io(format!("make {}", ours.display())))?;
    let log = std::fs::File::create(ours.join("world.log")).map_err(Error::io("make the log"))?;
    let program = std::env::current_exe().map_err(Error::io("find this program"))?;
    Command::new(program)
        .arg("serve")
        .current_dir(folder)
        // Everything in the world is on this machine.
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(Error::io("share the log"))?)
        .stderr(log)
        .spawn()
        .map_err(Error::io("start the world's process"))
}

/// Runs `onspot up` like a user.
async fn stack(state: &WorldState, folder: &Path) -> Result<()> {
    let guests = program::for_guests(&folder.join(FOLDER)).await?;
    let mut up = onspot(state)?;
    up.arg("up")
        .arg("--yes")
        .arg("--config")
        .arg(&state.onspot_toml)
        .arg("--binary")
        .arg(guests);
    anstream::println!("$ onspot up --config {}", state.onspot_toml.display());
    run_shown(up).await
}

/// The trace of the latest job `name` of the cowsay project.
async fn trace_of(state: &WorldState, name: &str) -> Result<String> {
    let what = || format!("read the trace of {name}");
    let api = format!(
        "{}/api/v4/projects/root%2Fcowsay",
        state.gitlab_url.trim_end_matches('/')
    );
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.map_err(Error::http(what()))?;
    let get = async |path: &str| {
        let request = client.get(format!("{api}/{path}"));
        let request = request.header("PRIVATE-TOKEN", &state.gitlab_token);
        request.send().await.map_err(Error::http(what()))
    };
    let json = async |path: &str| -> Result<serde_json::Value> {
        let body = get(path).await?.json().await;
        body.map_err(Error::http(what()))
    };
    let pipeline = json("pipelines").await?[0]["id"].as_u64();
    let pipeline = pipeline.unwrap_or_default();
    let jobs = json(&format!("pipelines/{pipeline}/jobs")).await?;
    let job = jobs
        .as_array()
        .into_iter()
        .flatten()
        .find(|job| job["name"] == name)
        .and_then(|job| job["id"].as_u64())
        .ok_or_else(|| Error::Other(format!("pipeline {pipeline} has no job {name}")))?;
    let trace = get(&format!("jobs/{job}/trace")).await?.text().await;
    trace.map_err(Error::http(what()))
}
