//! Errors of a push.

use std::path::PathBuf;

/// The file with the world's addresses, beneath the folder where it was started.
pub(super) const WORLD: &str = ".onspot/world.json";

/// Why a folder could not be pushed or its pipeline could not be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The folder has no `.gitlab-ci.yml`.
    #[error("{0:?} has no .gitlab-ci.yml")]
    NoConfiguration(PathBuf),
    /// No world is running here.
    #[error("no running world: there is no {WORLD} here or above")]
    NoWorld,
    /// The world's description is unusable.
    #[error("{path:?} can't be read")]
    World {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// There is no current folder.
    #[error("cannot find the current folder")]
    CurrentFolder(#[source] std::io::Error),
    /// `git` could not push.
    #[error(transparent)]
    Git(#[from] onspot_mock_gitlab::Error),
    /// GitLab can't be reached or answers with an error.
    #[error("GitLab did not answer to {what}")]
    Api {
        /// The requested path.
        what: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// GitLab's answer has an unexpected format.
    #[error("GitLab's answer to {what} makes no sense")]
    Answer {
        /// The requested path.
        what: String,
    },
    /// The push created no pipeline.
    #[error("no pipeline was made for commit {0}")]
    NoPipeline(String),
}

impl PushError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoWorld => "start one with `just up`, or give --url and --token".to_owned(),
            Self::NoConfiguration(_) => {
                "write one: https://docs.gitlab.com/ci/yaml/ tells how".to_owned()
            }
            Self::Git(error) => return error.hint(),
            Self::NoPipeline(_) => "does any job want to run on a push to main?".to_owned(),
            Self::Api { .. } => "is it running? `just up` starts it".to_owned(),
            _ => return None,
        })
    }

    /// 2 for wrong usage, else 1.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::NoConfiguration(_) | Self::NoWorld => 2,
            _ => 1,
        }
    }
}
