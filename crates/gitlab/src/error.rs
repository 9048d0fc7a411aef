//! Everything that can go wrong between onspot and GitLab.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

use crate::remote::Remote;
use crate::token::{JobId, JobToken};

/// What went wrong. The text is a fragment that fits behind "could not …: "; advice is in
/// [`Error::hint`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL of GitLab is none.
    #[error("`{url}` is not the URL of a GitLab")]
    BaseUrl {
        /// What was given.
        url: String,
    },

    /// A text is no system id.
    #[error("`{0}` is not a system id")]
    SystemId(String),

    /// The HTTP client could not be set up, most likely for a certificate.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] reqwest::Error),

    /// A request could not be built.
    #[error("a request could not be built")]
    Request(#[source] http::Error),

    /// GitLab could not be reached, or broke off.
    #[error("{host} did not answer when asked to {what}")]
    Unreachable {
        /// What it was asked to do.
        what: &'static str,
        /// Its host name.
        host: String,
        /// The cause; the URL is left out, as it may hold a signature.
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
        /// GitLab's own words.
        message: String,
    },

    /// GitLab answered with a status that means neither success nor anything else foreseen.
    #[error("GitLab answered {status} when asked to {what}: {message}")]
    Status {
        /// What it was asked to do.
        what: &'static str,
        /// The status.
        status: StatusCode,
        /// GitLab's own words.
        message: String,
        /// How long GitLab wants to be left alone.
        retry_after: Option<Duration>,
    },

    /// GitLab's answer is not what the protocol says.
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
        /// The job, where that much could be read: it is to be failed, as GitLab counts it taken.
        job: Option<(JobId, JobToken)>,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },

    /// There are too many secrets to look for.
    #[error("the masks of a trace could not be prepared")]
    Masks(#[source] aho_corasick::BuildError),

    /// A trace takes nothing more.
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
        /// How much is missing.
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

    /// GitLab takes no artifact of this size.
    #[error("the artifact {name} is larger than GitLab allows")]
    ArtifactTooLarge {
        /// The file's name.
        name: String,
    },

    /// A job has no artifacts any more, or never had.
    #[error("{host} has no artifacts of job {job}")]
    NoArtifacts {
        /// The job.
        job: JobId,
        /// Who was asked: GitLab, or its object storage.
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

/// What a refused token was.
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
                "Check the URL, DNS and the route to GitLab; for an own certificate authority add \
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

    /// How long GitLab wants to be left alone, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The statuses that GitLab Runner tries again after (`network/retry_requester.go`).
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504 | 512..)
}

/// A JSON error for something that should have been there.
pub(crate) fn missing(what: &str) -> serde_json::Error {
    <serde_json::Error as serde::de::Error>::custom(format!("{what} missing"))
}
