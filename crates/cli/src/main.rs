//! The `onspot` binary: parses the command line, executes the verb, and is the only place that
//! prints errors and chooses the exit code.

mod cli;
mod commands;
mod confirm;
mod failure;
mod instance;
mod logging;
mod logship;
mod output;
mod progress;
mod signals;
mod systemd;
mod table;
mod tokens;
mod uploads;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Verb};
use crate::failure::Failure;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(panicked));
    let cli = Cli::parse();
    let daemon = matches!(
        cli.verb,
        Verb::Run(_) | Verb::Manager(_) | Verb::Worker(_) | Verb::Watchdog(_)
    );
    logging::init(cli.global, daemon);
    let format = cli.global.output;
    match perform(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(format);
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// Executes the verb on its own runtime.
fn perform(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::caused("cannot start threads", error))?;
    let done = runtime.block_on(commands::perform(cli));
    // A thread that waits for input from a terminal would block the shutdown forever.
    runtime.shutdown_background();
    done
}

/// Reports a panic in one sentence as our fault, with its place.
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let what = panic
        .payload_as_str()
        .unwrap_or("no reason given")
        .replace('\n', " ");
    let sentence = format!("onspot has a fault at {place}: {what}; please report it\n");
    // If stderr is closed, nobody can be told.
    let _ = std::io::stderr().write_all(sentence.as_bytes());
}
