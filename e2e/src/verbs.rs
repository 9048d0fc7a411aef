//! The verbs of `onspot-world`, one module per verb.

mod bench;
mod down;
mod gitlab;
mod images;
mod process;
mod serve;
mod status;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::push::PushArgs;
use crate::{Error, Result};

/// The local world of onspot: AWS, instances and GitLab on this machine.
#[derive(Debug, Parser)]
#[command(name = "onspot-world", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a world, a stack in it, and push the cowsay project
    Up,
    /// Remove the stack, then the world
    Down,
    /// Show the running world and its stack
    Status,
    /// Push a folder with a .gitlab-ci.yml into the running world and follow its jobs
    Push(PushArgs),
    /// Start only the mock GitLab
    #[command(name = "gitlab")]
    GitLab(gitlab::GitLabArgs),
    /// Build the container images of the world (only what changed)
    Images,
    /// Measure how long a job takes to start, in a separate world
    Bench,
    /// Serve a world until the end of this process
    #[command(hide = true)]
    Serve,
}

/// Runs the verb that the command line names.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments.verb)) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("error: {}", crate::chain(&error));
            if let Some(hint) = error.hint() {
                anstream::eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Up => up::run(&here()?).await,
        Verb::Down => down::run(&here()?).await,
        Verb::Status => status::run(&here()?).await,
        Verb::Push(arguments) => Ok(crate::push::run(arguments).await.into()),
        Verb::GitLab(arguments) => gitlab::run(arguments).await,
        Verb::Images => images::run().await,
        Verb::Bench => bench::run().await.map(|()| ExitCode::SUCCESS),
        Verb::Serve => serve::run(&here()?).await,
    }
}

/// The current folder, whose world the verbs act on.
fn here() -> Result<PathBuf> {
    std::env::current_dir().map_err(Error::io("find the current folder"))
}
