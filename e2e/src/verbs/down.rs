//! `onspot-world down`: removes the stack, as a user would, then the world.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::process::{onspot, run_shown, terminate};
use crate::Result;
use crate::engine::{self, labels};
use crate::poll::{self, Look};
use crate::world::state::WorldState;
use crate::world::{Which, sweep};

/// How long the world's process may take to end.
const END_BOUND: Duration = Duration::from_mins(1);

/// Removes everything; it is fine if there is nothing.
pub(super) async fn run(folder: &Path) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    if let Ok(state) = WorldState::running(folder) {
        let mut down = onspot(&state)?;
        down.arg("down")
            .arg("--yes")
            .arg("--config")
            .arg(&state.onspot_toml);
        if let Err(error) = run_shown(down).await {
            // The world is removed all the same, and with it everything of the stack.
            anstream::eprintln!("error: {}", crate::chain(&error));
            code = ExitCode::FAILURE;
        }
        end(&state).await?;
        anstream::println!("world {} is gone", state.id);
    }
    let Ok(docker) = engine::connect().await else {
        anstream::println!("no Docker engine answers: there can be no world");
        return Ok(code);
    };
    let swept = sweep::sweep(&docker, Which::Dead).await?;
    if swept > 0 {
        anstream::println!("removed what a dead world left ({swept} things)");
    }
    Ok(code)
}

/// Ends the world's process, which removes the world.
async fn end(state: &WorldState) -> Result<()> {
    terminate(Some(state.pid))?;
    poll::until("the world's process ends", END_BOUND, || async {
        Ok(if labels::is_alive(&state.owner) {
            Look::NotYet(format!("process {} lives", state.pid))
        } else {
            Look::There(())
        })
    })
    .await
}
