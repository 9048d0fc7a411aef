//! The processes that verbs start and end.

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::world::program;
use crate::world::state::WorldState;
use crate::{Error, Result, command};

/// The `onspot` binary with the environment of the world's user.
pub(super) fn onspot(state: &WorldState) -> Result<Command> {
    let mut command = Command::new(program::find()?);
    command.envs(program::environment(&state.user));
    for name in program::FOREIGN {
        command.env_remove(name);
    }
    Ok(command)
}

/// Runs a command with its output on our terminal.
pub(super) async fn run_shown(mut command: Command) -> Result<()> {
    let shown = command::shown(&command);
    let status = command
        .status()
        .await
        .map_err(Error::io(format!("run `{shown}`")))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Command {
        command: shown,
        status: status.to_string(),
        output: String::new(),
    })
}

/// Tells the world's process to remove its world and end, which takes a while.
pub(super) fn terminate(pid: Option<u32>) -> Result<()> {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok());
    match pid.and_then(Pid::from_raw) {
        Some(pid) => kill_process(pid, Signal::TERM)
            .map_err(|error| Error::io("end the world's process")(error.into())),
        None => Ok(()),
    }
}
