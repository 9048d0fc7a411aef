//! Errors of the local world.

use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

use crate::duration::rough;

/// The result type of the local world.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the local world.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Docker engine refused a call, or does not answer.
    #[error("docker: cannot {what}")]
    Docker {
        /// The attempted action, as in "cannot …".
        what: String,
        /// The engine's answer.
        #[source]
        source: bollard::errors::Error,
    },
    /// A container was not started by testcontainers.
    #[error("cannot start the container of {what}")]
    Container {
        /// The container's purpose.
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
    /// The base image is missing, and can be neither pulled nor built.
    #[error("the image {image} is missing and can't be pulled ({pull}), nor made here: {reason}")]
    BaseImage {
        /// The image's name.
        image: String,
        /// Why it can't be pulled.
        pull: String,
        /// Why it can't be built.
        reason: String,
    },
    /// An operation on a file, a socket or a process failed.
    #[error("cannot {what}")]
    Io {
        /// The attempted action, as in "cannot …".
        what: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A call to the AWS look-alike failed.
    #[error("aws: cannot {what}: {message}")]
    Aws {
        /// The attempted action, as in "cannot …".
        what: String,
        /// Code and message of the answer, or the connection's error.
        message: String,
    },
    /// An HTTP request of the world itself failed.
    #[error("cannot {what}")]
    Http {
        /// The attempted action, as in "cannot …".
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
        /// The last lines of its output.
        output: String,
    },
    /// A condition did not become true in time.
    #[error("{what}: not after {}; last seen: {seen}", rough(*after))]
    TimedOut {
        /// The condition.
        what: String,
        /// How long.
        after: Duration,
        /// The last observation.
        seen: String,
    },
    /// The mock GitLab did not start, or refused a request.
    #[error("mock GitLab: cannot {what}")]
    GitLab {
        /// The attempted action, as in "cannot …".
        what: &'static str,
        /// The reason.
        #[source]
        source: onspot_mock_gitlab::Error,
    },
    /// A file does not contain the expected JSON.
    #[error("{} is not what it should be", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parse error.
        #[source]
        source: serde_json::Error,
    },
    /// There is no running world.
    #[error("no world is running here ({})", .0.display())]
    NoWorld(PathBuf),
    /// Any other error.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// For `map_err` after a call to the Docker engine.
    pub fn docker(what: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let what = what.into();
        move |source| Self::Docker { what, source }
    }

    /// For `map_err` after an operation on files, sockets or processes.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// For `map_err` after an HTTP request of the world's own.
    pub fn http(what: impl Into<String>) -> impl FnOnce(reqwest::Error) -> Self {
        let what = what.into();
        move |source| Self::Http { what, source }
    }

    /// For `map_err` after a request to the mock GitLab.
    pub fn gitlab(what: &'static str) -> impl FnOnce(onspot_mock_gitlab::Error) -> Self {
        move |source| Self::GitLab { what, source }
    }

    /// For `map_err` after a call with an AWS SDK.
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

    /// What a person can do about it, if known.
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

/// Code and message of a refused call, otherwise the chain of causes.
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
