//! What can go wrong in the local world.

use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

use crate::duration::rough;

/// The result of everything that the world does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the local world.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Docker engine refused something, or does not answer.
    #[error("docker: cannot {what}")]
    Docker {
        /// What was tried, as in "cannot …".
        what: String,
        /// The engine's answer.
        #[source]
        source: bollard::errors::Error,
    },
    /// A container that testcontainers should have started is not there.
    #[error("cannot start the container of {what}")]
    Container {
        /// What the container is for.
        what: String,
        /// The reason.
        #[source]
        source: testcontainers::TestcontainersError,
    },
    /// An image could not be built.
    #[error("the image {image} does not build: {message}")]
    ImageBuild {
        /// The image's name.
        image: String,
        /// The engine's message and the last lines of the build.
        message: String,
    },
    /// The base image is neither there nor can it be pulled or made.
    #[error("the image {image} is missing and can't be pulled ({pull}), nor made here: {reason}")]
    BaseImage {
        /// The image's name.
        image: String,
        /// Why it can't be pulled.
        pull: String,
        /// Why it can't be made.
        reason: String,
    },
    /// A file, a socket or a process of this machine.
    #[error("cannot {what}")]
    Io {
        /// What was tried, as in "cannot …".
        what: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A call to the AWS look-alike failed.
    #[error("aws: cannot {what}: {message}")]
    Aws {
        /// What was tried, as in "cannot …".
        what: String,
        /// Code and message of the answer, or what broke on the way.
        message: String,
    },
    /// An HTTP request of the world itself failed.
    #[error("cannot {what}")]
    Http {
        /// What was tried, as in "cannot …".
        what: String,
        /// The reason.
        #[source]
        source: reqwest::Error,
    },
    /// A program ended with a failure.
    #[error("`{command}` failed ({status}):\n{output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines of what it printed.
        output: String,
    },
    /// Something awaited did not come about.
    #[error("{what}: not after {}; last seen: {seen}", rough(*after))]
    TimedOut {
        /// What was awaited.
        what: String,
        /// How long.
        after: Duration,
        /// What there was instead, at the last look.
        seen: String,
    },
    /// The mock GitLab did not start, or not do what was asked of it.
    #[error("mock GitLab: cannot {what}")]
    GitLab {
        /// What was tried, as in "cannot …".
        what: &'static str,
        /// The reason.
        #[source]
        source: onspot_mock_gitlab::Error,
    },
    /// A file that should hold JSON does not.
    #[error("{} is not what it should be", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it deviates.
        #[source]
        source: serde_json::Error,
    },
    /// There is no running world.
    #[error("no world is running here ({})", .0.display())]
    NoWorld(PathBuf),
    /// Something that has no better kind.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// For `map_err` after a call of the Docker engine.
    pub fn docker(what: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let what = what.into();
        move |source| Self::Docker { what, source }
    }

    /// For `map_err` after a file, socket or process operation.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// For `map_err` after an HTTP request of the world's own.
    pub fn http(what: impl Into<String>) -> impl FnOnce(reqwest::Error) -> Self {
        let what = what.into();
        move |source| Self::Http { what, source }
    }

    /// For `map_err` after something asked of the mock GitLab.
    pub fn gitlab(what: &'static str) -> impl FnOnce(onspot_mock_gitlab::Error) -> Self {
        move |source| Self::GitLab { what, source }
    }

    /// For `map_err` after a call of an AWS SDK.
    pub fn aws<E, R>(what: impl Into<String>) -> impl FnOnce(SdkError<E, R>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug + 'static,
    {
        let what = what.into();
        move |error| Self::Aws {
            what,
            message: aws_message(&error),
        }
    }

    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Docker { .. } | Self::Container { .. } => {
                Some("does `docker version` work for this user?".to_owned())
            }
            Self::BaseImage { image, .. } => Some(format!(
                "`docker pull {image}` where there is a registry, or run this as root on Debian or Ubuntu"
            )),
            Self::GitLab { source, .. } => source.hint(),
            Self::NoWorld(_) => Some("`just up` starts one".to_owned()),
            _ => None,
        }
    }
}

/// Code and message of a refused call, else the chain of what broke.
fn aws_message<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug + 'static,
{
    if let SdkError::ServiceError(refused) = error {
        let meta = refused.err().meta();
        return format!(
            "{}: {}",
            meta.code().unwrap_or("no code"),
            meta.message().unwrap_or("no message")
        );
    }
    chain(error)
}

/// An error and all its sources, on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
