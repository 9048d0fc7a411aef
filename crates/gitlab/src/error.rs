//! Errors of the communication with GitLab.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

use crate::remote::Remote;
use crate::token::{JobId, JobToken};

/// An error of this crate. The text is a fragment for use after "could not …: "; advice is in
/// [`Error::hint`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a usable URL of a GitLab.
    #[error("`{url}` is not the URL of a GitLab")]
    BaseUrl {
        /// The given URL.
        url: String,
    },

    /// Not a system id.
    #[error("`{0}` is not a system id")]
    SystemId(String),

    /// The HTTP client could not be set up, most likely because of a certificate.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] reqwest::Error),

    /// A request could not be built.
    #[error("a request could not be built")]
    Request(#[source] http::Error),

    /// GitLab could not be reached, or the connection broke.
    #[error("{host} did not answer when asked to {what}")]
    Unreachable {
        /// What it was asked to do.
        what: &'static str,
        /// Its host name.
        host: String,
        /// The cause, without the URL, which may contain a signature.
        #[source]
        source: reqwest::Error,
    },

    /// GitLab refused a token.
    #[error("GitLab refused the {token} when asked to {what} ({message})")]
    Refused {
        /// What it was asked to do.
        what: &'static str,
        /// Which token it was.
        token: TokenKind,
        /// GitLab's message.
        message: String,
    },

    /// GitLab answered with an unexpected status.
    #[error("GitLab answered {status} when asked to {what}: {message}")]
    Status {
        /// What it was asked to do.
        what: &'static str,
        /// The status.
        status: StatusCode,
        /// GitLab's message.
        message: String,
        /// How long GitLab asks to wait.
        retry_after: Option<Duration>,
    },

    /// GitLab's answer does not follow the protocol.
    #[error("GitLab's answer could not be read when asked to {what}")]
    Answer {
        /// What it was asked to do.
        what: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },

    /// GitLab handed out a job that could not be read.
    #[error("GitLab's job could not be read")]
    Payload {
        /// The job's id and token, if those could be read: the job must be failed, because GitLab
        /// considers it taken.
        job: Option<(JobId, JobToken)>,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },

    /// There are too many secrets to look for.
    #[error("the masks of a trace could not be prepared")]
    Masks(#[source] aho_corasick::BuildError),

    /// GitLab accepts nothing more for a trace.
    #[error("the trace of job {job} takes nothing more ({remote})")]
    TraceOver {
        /// The job.
        job: JobId,
        /// Why.
        remote: Remote,
    },

    /// The rest of a trace could not be sent in the time given.
    #[error("{bytes} bytes of the trace of job {job} could not be sent")]
    TraceUnsent {
        /// The job.
        job: JobId,
        /// How many bytes are missing.
        bytes: u64,
        /// Why the last try failed.
        #[source]
        source: Option<Box<Error>>,
    },

    /// GitLab took a job's result, but did not confirm it in the time given.
    #[error("GitLab did not confirm the result of job {job}")]
    Unconfirmed {
        /// The job.
        job: JobId,
    },

    /// The artifact is larger than GitLab accepts.
    #[error("the artifact {name} is larger than GitLab allows")]
    ArtifactTooLarge {
        /// The file's name.
        name: String,
    },

    /// A job has no artifacts, or none any more.
    #[error("{host} has no artifacts of job {job}")]
    NoArtifacts {
        /// The job.
        job: JobId,
        /// The host that was asked: GitLab, or its object storage.
        host: String,
    },

    /// A file could not be read or written.
    #[error("the file {} failed", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// The kind of a refused token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A runner's authentication token.
    Runner,
    /// A user's, a project's or a group's access token.
    Access,
    /// A job's token.
    Job,
}

impl std::fmt::Display for TokenKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Runner => "runner token",
            Self::Access => "access token",
            Self::Job => "job token",
        })
    }
}

impl Error {
    /// What the user can do about it, as whole sentences.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::BaseUrl { .. } => {
                "Give GitLab's address with its scheme, for example https://gitlab.com."
            }
            Self::Unreachable { source, .. } if source.is_timeout() => {
                "Check that this host may reach GitLab: proxy, firewall, routes."
            }
            Self::Unreachable { .. } => {
                "Check the URL, DNS and the route to GitLab; for your own certificate authority add \
                 its certificate."
            }
            Self::Refused {
                token: TokenKind::Runner,
                ..
            } => {
                "The runner was deleted, or its token was reset or has expired: create one under \
                 Settings > CI/CD > Runners, and give its glrt- token."
            }
            Self::Refused {
                token: TokenKind::Access,
                ..
            } => {
                "The access token needs the scope create_runner, and its user the role Owner or \
                 Maintainer."
            }
            Self::Status { status, .. } if status.is_redirection() => {
                "The URL leads elsewhere: give the address that GitLab itself uses."
            }
            Self::Status { status, .. } if *status == StatusCode::NOT_FOUND => {
                "Check that the URL is GitLab's own, with its sub-path if it has one."
            }
            Self::ArtifactTooLarge { .. } => {
                "Keep less, or raise the limit of the project's or instance's artifacts."
            }
            Self::NoArtifacts { .. } => {
                "They have expired, were erased, or were never uploaded: run that job again, or \
                 take it out of this job's dependencies."
            }
            Self::SystemId(_) => "It is s_ or r_ and twelve letters or digits.",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether trying again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => is_transient(*status),
            _ => false,
        }
    }

    /// How long GitLab asks to wait, if it does.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The statuses after which GitLab Runner retries (`network/retry_requester.go`).
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504 | 512..)
}

/// A JSON error for a missing part.
pub(crate) fn missing(what: &str) -> serde_json::Error {
    <serde_json::Error as serde::de::Error>::custom(format!("{what} missing"))
}
