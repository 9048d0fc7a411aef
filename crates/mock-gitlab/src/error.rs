//! What can go wrong with the server itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ids::PipelineId;

/// Why the server did not start or do what was asked of it, or a push did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken, or is none of this host's.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A folder can't be made, or not be written to.
    #[error("cannot write to the folder {path:?}")]
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

impl Error {
    /// For `map_err` after something done in a folder.
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
