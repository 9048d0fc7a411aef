//! Errors of the server itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ids::PipelineId;

/// Why the server did not start, a request to it failed, or a push did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is in use, or does not belong to this host.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A folder can't be created or written to.
    #[error("cannot write to the folder {path:?}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// No URL can be made from the listening address.
    #[error("no URL can be made of {text:?}")]
    Url {
        /// The text.
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
        /// The system's error.
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
    /// The requested object does not exist.
    #[error("there is no {what}")]
    Unknown {
        /// E.g. `job 7`.
        what: String,
    },
    /// A pipeline did not end within the time limit.
    #[error("pipeline {id} is still {status} after {bound:?}: {jobs}")]
    StillRunning {
        /// Its number.
        id: PipelineId,
        /// The state it is in.
        status: String,
        /// The time limit.
        bound: Duration,
        /// Its jobs and their states.
        jobs: String,
    },
}

impl Error {
    /// For `map_err` after file operations in a folder.
    pub(crate) fn folder(path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Folder {
            path: path.to_owned(),
            source,
        }
    }

    /// For `map_err` after making a temporary folder.
    pub(crate) fn temporary_folder(source: std::io::Error) -> Self {
        Self::folder(&std::env::temp_dir())(source)
    }

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
