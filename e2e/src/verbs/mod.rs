//! What `onspot-world` can do, one module a verb.

mod images;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::Result;

/// The local world of onspot: AWS, instances and GitLab on this machine.
#[derive(Debug, Parser)]
#[command(name = "onspot-world", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the container images of the world (only what changed)
    Images,
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
        Verb::Images => images::run().await,
    }
}
