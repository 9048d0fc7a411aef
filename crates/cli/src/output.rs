//! Writes results to stdout, for people or as JSON.

use std::io::Write;

use serde::Serialize;

use crate::cli::Format;
use crate::failure::Failure;

/// Writes results to stdout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    /// Output in this format.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Writes a result: the text for people, or the value as one line of JSON.
    pub(crate) fn result(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => json(value),
            Format::Text => put(&text()),
        }
    }
}

/// Writes a line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_string(value)
        .map_err(|error| Failure::caused("the result can't be written as JSON", error))?;
    line.push('\n');
    put(&line)
}

/// Writes to stdout. A reader that has gone (`onspot logs | head`) ends the process without an
/// error.
fn put(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::silent()),
        Err(error) => Err(Failure::caused("cannot write to stdout", error)),
    }
}
