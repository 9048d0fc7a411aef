//! Runs programs of this machine.

use std::process::Stdio;

use tokio::process::Command;

use crate::{Error, Result};

/// How many bytes of a failed program's output the error shows.
const LAST: usize = 4_000;

/// Runs a program to its end, without a terminal; returns its stdout.
pub async fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    output(command).await
}

/// Runs a prepared command to its end, without a terminal; returns its stdout.
pub async fn output(mut command: Command) -> Result<String> {
    let shown = shown(&command);
    let done = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(Error::io(format!("run `{shown}`")))?;
    let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() {
        return Ok(stdout);
    }
    let printed = format!("{stdout}{}", String::from_utf8_lossy(&done.stderr));
    Err(Error::Command {
        command: shown,
        status: done.status.to_string(),
        output: tail(&printed).to_owned(),
    })
}

/// The command line, for a message.
pub fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy());
    words
        .map(|word| if word.len() > 80 { "…".into() } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last lines of a program's output, for a message.
pub fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(LAST);
    let from = (from..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    text[from..].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_shows_the_output() {
        let error = run("sh", &["-c", "echo out; echo err >&2; exit 3"])
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3") && text.contains("out\nerr"),
            "{text}"
        );
        assert_eq!(run("sh", &["-c", "echo out"]).await.unwrap(), "out\n");
    }
}
