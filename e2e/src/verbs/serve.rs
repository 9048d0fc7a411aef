//! `onspot-world serve`: the process of a world.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::world::state::{FOLDER, WorldState};
use crate::world::{Signals, StackOptions, World, WorldOptions};
use crate::{Error, Result};

/// The preferred port of the world's GitLab.
const GITLAB_PORT: u16 = 8929;

/// Serves the world of `folder` until a signal arrives, then removes it.
pub(super) async fn run(folder: &Path) -> Result<ExitCode> {
    // Leaves the terminal's session, so that its Ctrl-C does not reach this process. This only
    // fails for a process that already leads a group, and is apart from the terminal anyway.
    let _ = rustix::process::setsid();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,onspot_e2e=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("watch for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("watch for Ctrl-C"))?;
    let mut options = WorldOptions::new(folder.join(FOLDER));
    options.signals = Signals::LeftToOwner;
    options.gitlab_port = GITLAB_PORT;
    let starting = World::start(options);
    let world = tokio::select! {
        world = starting => world?,
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
    };
    let toml = world.write_stack(&StackOptions {
        max_builds: 1,
        ..StackOptions::default()
    })?;
    WorldState::of(&world, toml).write(folder)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    world.stop().await?;
    let path = WorldState::path(folder);
    std::fs::remove_file(&path).map_err(Error::io(format!("remove {}", path.display())))?;
    Ok(ExitCode::SUCCESS)
}
