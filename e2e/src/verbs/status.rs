//! `onspot-world status`: the running world, then the output of `onspot status`.

use std::path::Path;
use std::process::ExitCode;

use super::process::{onspot, run_shown};
use crate::engine;
use crate::world::state::WorldState;
use crate::{Result, world};

/// Shows the world of `folder`.
pub(super) async fn run(folder: &Path) -> Result<ExitCode> {
    let state = WorldState::running(folder)?;
    anstream::println!("world   {} (process {})", state.id, state.pid);
    anstream::println!("GitLab  {}", state.gitlab_url);
    anstream::println!("AWS     {}", state.aws_url);
    let docker = engine::connect().await?;
    for part in world::sweep::parts(&docker, &state.id).await? {
        anstream::println!("        {part}");
    }
    let mut status = onspot(&state)?;
    status.arg("status").arg("--config").arg(&state.onspot_toml);
    run_shown(status).await?;
    Ok(ExitCode::SUCCESS)
}
