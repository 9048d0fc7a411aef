//! What can go wrong with the server itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::ids::PipelineId;

/// An error of the mock GitLab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitLabError {
    /// The address is taken, or is none of this host's.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder for repositories can't be made.
    #[error("cannot make the folder {path:?}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The listening address gave no URL.
    #[error("no URL can be made of {text:?}")]
    Url {
        /// What was tried.
        text: String,
        /// What is wrong with it.
        #[source]
        source: url::ParseError,
    },
    /// `git` could not be started.
    #[error("cannot run {command:?}")]
    GitMissing {
        /// The command line.
        command: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// `git` failed.
    #[error("{command:?} failed: {message}")]
    GitFailed {
        /// The command line.
        command: String,
        /// What it wrote to its error output.
        message: String,
    },
    /// There is no such thing.
    #[error("there is no {what}")]
    Unknown {
        /// E.g. `job 7`.
        what: String,
    },
    /// A pipeline did not end within the time given.
    #[error("pipeline {id} is still {status} after {bound:?}: {jobs}")]
    StillRunning {
        /// Its number.
        id: PipelineId,
        /// The state it is in.
        status: String,
        /// How long was waited.
        bound: Duration,
        /// Its jobs and their states.
        jobs: String,
    },
}

impl GitLabError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { .. } => Some("choose another port, or end what listens there".to_owned()),
            Self::GitMissing { .. } => Some("install git".to_owned()),
            Self::Folder { .. } => Some("give a folder that this user may write to".to_owned()),
            _ => None,
        }
    }
}
