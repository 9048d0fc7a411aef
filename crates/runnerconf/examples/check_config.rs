//! Reads a `config.toml` and prints where onspot would deviate from it:
//! `cargo run --example check_config -- config.toml`.

#![expect(clippy::print_stdout, reason = "examples print their results")]

use std::error::Error;

use onspot_runnerconf::{Config, lint};

const OF_2017: &str = r#"
concurrent = 4

[[runners]]
  name = "docker.m3"
  url = "https://gitlab.com"
  token = "env:RUNNER_TOKEN"
  executor = "docker+machine"
  [runners.machine]
    IdleCount = 0
    MachineDriver = "amazonec2"
    MachineName = "runner-%s"
    MachineOptions = ["amazonec2-access-key=AKIA…", "amazonec2-request-spot-instance=true"]
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let (text, name) = match std::env::args().nth(1) {
        Some(path) => (std::fs::read_to_string(&path)?, path),
        None => (OF_2017.to_owned(), "config.toml".to_owned()),
    };
    // The error for a wrong value shows its place.
    let config = Config::parse(&text, &name)?;
    for runner in &config.runners {
        println!("{} runs jobs by {}", runner.name(), runner.executor);
    }
    for warning in lint(&config) {
        println!("{warning}: {}", warning.hint);
    }
    Ok(())
}
