//! The side of the executor that touches a job's files: git, caches, artifacts.
//!
//! It runs as `onspot helper` in a container of its own (for the shell executor: as a process),
//! with the authority of the job and not of the worker, because a `.gitlab-ci.yml` can make git
//! run anything. One [`HelperCall`] comes as a line of JSON on standard input, one
//! [`HelperAnswer`] goes as a line of JSON to standard output; text for the trace goes to standard
//! error.

mod artifacts;
mod caches;
mod git;
mod place;
pub mod request;
mod services;
mod sources;
mod taken_up;

use std::io::Write;
use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

pub use request::{HelperAnswer, HelperCall, HelperRequest};

use onspot_gitlab::ansi;

/// Why the helper could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// What came on standard input is no call.
    #[error("the helper was called with something it does not understand: {0}")]
    Call(#[source] serde_json::Error),
    /// Standard input or output is gone.
    #[error("the helper's input or output broke: {0}")]
    Stream(#[source] std::io::Error),
    /// A file of the build folder.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A program did not succeed; it has said why by itself.
    #[error("{command} ended with {status}")]
    Program {
        /// The program and what it was to do: `git fetch`.
        command: String,
        /// Its exit status.
        status: String,
    },
    /// An archive or its transfer.
    #[error(transparent)]
    Cache(#[from] onspot_cache::CacheError),
    /// GitLab.
    #[error(transparent)]
    GitLab(#[from] onspot_gitlab::Error),
    /// Something in the request that cannot be.
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

/// Reads one call from `input`, does it, and gives the process's exit code: 0 or 1.
///
/// This is what `onspot helper` does with its standard input.
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
        HelperRequest::UploadArtifacts(request) => artifacts::upload(&place, *request).await,
        HelperRequest::CleanUp => place::clean_up(&place),
    }
}

/// A line for the trace.
fn say(line: &str) {
    // Whoever reads the trace may be gone; there is nobody else to tell.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn say_out(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Runs something that blocks (archives, many files) beside the asynchronous rest.
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
