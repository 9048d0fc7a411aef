//! What can go wrong with a push.

use std::path::PathBuf;

/// Where the world says how it is reached, beneath the folder where it was started.
pub(super) const WORLD: &str = ".onspot/world.json";

/// Why a folder could not be pushed or its pipeline not be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The folder has nothing to run.
    #[error("{0:?} has no .gitlab-ci.yml")]
    NoConfiguration(PathBuf),
    /// No world is running here.
    #[error("no running world: there is no {WORLD} here or above")]
    NoWorld,
    /// The world's description can't be used.
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
    /// GitLab can't be reached or does not answer as it should.
    #[error("GitLab did not answer to {what}")]
    Api {
        /// The path asked for.
        what: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// GitLab's answer is not what it should be.
    #[error("GitLab's answer to {what} makes no sense")]
    Answer {
        /// The path asked for.
        what: String,
    },
    /// The push made no pipeline.
    #[error("no pipeline was made for commit {0}")]
    NoPipeline(String),
}

impl PushError {
    /// What to do about it.
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

    /// 2 for wrong use, else 1.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::NoConfiguration(_) | Self::NoWorld => 2,
            _ => 1,
        }
    }
}
