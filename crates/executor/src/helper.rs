//! The part of the executor that works on a job's files: git, caches, artifacts.
//!
//! It runs as `onspot helper` in a separate container (for the shell executor: as a process), with
//! the job's rights and not the worker's, because a `.gitlab-ci.yml` can make git run any command.
//! It reads one [`HelperCall`] as a line of JSON from standard input, and writes one
//! [`HelperAnswer`] as a line of JSON to standard output; text for the trace goes to standard
//! error.

mod artifacts;
mod caches;
mod git;
mod place;
pub mod request;
mod services;
mod sources;
pub mod statement;
mod taken_up;

use std::io::Write;
use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

pub use request::{HelperAnswer, HelperCall, HelperRequest};

use onspot_gitlab::ansi;

/// Why the helper could not process a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// The standard input is not a valid call.
    #[error("the helper was called with something it does not understand: {0}")]
    Call(#[source] serde_json::Error),
    /// Standard input or output is closed.
    #[error("the helper's input or output broke: {0}")]
    Stream(#[source] std::io::Error),
    /// An operation on a file of the build folder failed.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// The attempted action.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A program failed; its own output tells why.
    #[error("{command} ended with {status}")]
    Program {
        /// The program and its task: `git fetch`.
        command: String,
        /// Its exit status.
        status: String,
    },
    /// An archive or its transfer failed.
    #[error(transparent)]
    Cache(#[from] onspot_cache::Error),
    /// A request to GitLab failed.
    #[error(transparent)]
    GitLab(#[from] onspot_gitlab::Error),
    /// The request is invalid.
    #[error("{0}")]
    Request(String),
}

impl HelperError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Cache(error) => error.hint(),
            Self::GitLab(error) => error.hint(),
            _ => None,
        }
    }

    fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

/// Reads one call from `input`, processes it, and returns the process's exit code: 0 or 1.
///
/// The implementation of `onspot helper`, which passes its standard input.
pub async fn run(input: impl AsyncRead + Unpin) -> u8 {
    match answer(input).await {
        Ok(answer) => match serde_json::to_string(&answer).map(|line| say_out(&line)) {
            Ok(Ok(())) => 0,
            _ => 1,
        },
        Err(error) => {
            let hint = error.hint().map(|hint| format!(" ({hint})"));
            say(&ansi::error(&format!(
                "{error}{}",
                hint.unwrap_or_default()
            )));
            1
        }
    }
}

async fn answer(input: impl AsyncRead + Unpin) -> Result<HelperAnswer, HelperError> {
    let mut line = String::new();
    BufReader::new(input)
        .read_line(&mut line)
        .await
        .map_err(HelperError::Stream)?;
    let HelperCall { place, request } = serde_json::from_str(&line).map_err(HelperError::Call)?;
    if place.world_writable {
        rustix::process::umask(rustix::fs::Mode::empty());
    }
    match request {
        HelperRequest::Hello => Ok(HelperAnswer::Done),
        HelperRequest::Claim(claim) => blocking(move || place::claim(&place, claim.keep)).await,
        HelperRequest::GetSources(sources) => sources::get(&place, &sources).await,
        HelperRequest::RestoreCache(request) => caches::restore(&place, request).await,
        HelperRequest::DownloadArtifacts(request) => artifacts::download(&place, request).await,
        HelperRequest::WaitForServices(request) => services::wait(request).await,
        HelperRequest::GiveAway(to) => blocking(move || place::give_away(&place, to)).await,
        HelperRequest::SaveCache(request) => caches::save(&place, request).await,
        HelperRequest::UploadParts(request) => caches::upload_parts(request).await,
        HelperRequest::UploadArtifacts(request) => artifacts::upload(&place, *request).await,
        HelperRequest::CleanUp => place::clean_up(&place),
    }
}

/// A line for the trace.
fn say(line: &str) {
    // If nobody reads the trace any more, there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn say_out(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Runs blocking work (archives, many files) outside the asynchronous runtime.
async fn blocking<T, F>(work: F) -> Result<T, HelperError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, HelperError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(HelperError::Request(format!("the helper broke: {error}"))),
    }
}

#[cfg(test)]
mod tests;
