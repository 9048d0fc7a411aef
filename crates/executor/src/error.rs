//! Errors of the executor and its host.

use onspot_gitlab::FailureReason;

/// An error of an executor. Its text is a fragment for use in "… failed: {error}".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No Docker engine answers.
    #[error("no Docker engine answers")]
    NoEngine {
        /// The connection's error.
        #[source]
        source: bollard::errors::Error,
    },
    /// A call to the Docker engine failed.
    #[error("{action}: {}", docker_message(source))]
    Docker {
        /// The attempted action: `create the job's container`.
        action: String,
        /// The engine's error.
        #[source]
        source: bollard::errors::Error,
    },
    /// No pull policy provided the image.
    #[error("image {image} is not available ({tried})")]
    Image {
        /// The image's name.
        image: String,
        /// The policies and their results.
        tried: String,
    },
    /// The runner's configuration does not allow something that the job asks for.
    #[error("{0}")]
    NotAllowed(String),
    /// The runner, as configured, does not support something that the job asks for.
    #[error("{0}")]
    Unsupported(String),
    /// The helper container failed to process a request.
    #[error("{what} failed in the helper (exit code {exit_code})")]
    Helper {
        /// The request's name: `get_sources`.
        what: String,
        /// The helper's exit code; -1 when it was killed.
        exit_code: i64,
    },
    /// The `onspot` binary does not run in the helper image.
    #[error("the onspot binary does not run in the helper image: {output}")]
    HelperBinary {
        /// Its output.
        output: String,
    },
    /// A container of the job cannot be killed.
    #[error("container {container} does not end")]
    StillRunning {
        /// Its id.
        container: String,
    },
    /// Containers could not be paused; they may still be running.
    #[error("{containers} of the containers could not be paused")]
    NotFrozen {
        /// How many.
        containers: usize,
    },
    /// Containers could not be unpaused.
    #[error("{containers} of the containers could not be unpaused")]
    NotThawed {
        /// How many.
        containers: usize,
    },
    /// Processes of the job cannot be killed.
    #[error("some of the job's processes do not end")]
    Unkillable,
    /// Processes of the job cannot be stopped.
    #[error("some of the job's processes do not stand still")]
    Unstoppable,
    /// The executor was closed: it runs no more jobs.
    #[error("no more jobs are run here")]
    Closed,
    /// An operation on a file or process of this host failed.
    #[error("{action}: {source}")]
    Io {
        /// The attempted action.
        action: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The job's payload is invalid.
    #[error("{0}")]
    Payload(String),
    /// The masks of the trace could not be prepared.
    #[error("the trace cannot be masked: {0}")]
    Masks(#[source] onspot_gitlab::Error),
    /// The cache could not be addressed.
    #[error(transparent)]
    Cache(#[from] onspot_cache::Error),
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoEngine { .. } => Some(
                "install and start Docker, and make sure that `docker version` works for this user"
                    .into(),
            ),
            Self::Image { tried, .. } if is_rate_limit(tried) => Some(
                "the registry counts pulls, and too many came from this address: set \
                 registry_mirrors to a mirror of your own, let the managers of a stack keep images \
                 (registry_cache in onspot.toml), give the runner a login of the registry \
                 (DOCKER_AUTH_CONFIG in its environment), or let it keep images with pull_policy = \
                 \"if-not-present\""
                    .into(),
            ),
            Self::Image { .. }
                if self.failure_reason() == FailureReason::RunnerExternalDependencyFailure =>
            {
                Some(
                    "the registry could not be reached: check this host's network, DNS and the \
                     engine's proxy, or let the runner keep images with pull_policy = \
                     \"if-not-present\""
                        .into(),
                )
            }
            Self::Image { .. } => Some(
                "check the image's name and the registry's credentials, or let the runner use a \
                 local image with pull_policy = \"if-not-present\""
                    .into(),
            ),
            Self::HelperBinary { .. } => Some(
                "this binary needs a newer C library than the helper image has; build it with \
                 `just dist`"
                    .into(),
            ),
            _ => None,
        }
    }

    /// The failure reason for GitLab when a job ends by this error: the one that GitLab Runner uses
    /// in the same case (an error of its own is `runner_system_failure`, one marked as a job's is
    /// not).
    pub fn failure_reason(&self) -> FailureReason {
        match self {
            Self::Helper { what, exit_code } => reason_of_helper(what, *exit_code),
            Self::Image { tried, .. } => reason_of_image(tried),
            // The engine's "bad request" means a wrong configuration of runner or job.
            Self::Docker {
                action,
                source:
                    bollard::errors::Error::DockerResponseServerError {
                        status_code: 400, ..
                    },
            } if action.starts_with("create ") => FailureReason::RunnerConfigurationError,
            Self::Unsupported(_) => FailureReason::RunnerConfigurationError,
            Self::NoEngine { .. }
            | Self::Docker { .. }
            | Self::NotAllowed(_)
            | Self::HelperBinary { .. }
            | Self::StillRunning { .. }
            | Self::NotFrozen { .. }
            | Self::NotThawed { .. }
            | Self::Unkillable
            | Self::Unstoppable
            | Self::Io { .. }
            | Self::Payload(_)
            | Self::Masks(_)
            | Self::Closed
            | Self::Cache(_) => FailureReason::RunnerSystemFailure,
        }
    }

    /// The exit code for GitLab, if one of the job's own programs ended with one.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Helper { exit_code, .. }
                if self.failure_reason() == FailureReason::ScriptFailure =>
            {
                i32::try_from(*exit_code).ok()
            }
            _ => None,
        }
    }

    pub(crate) fn docker(action: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let action = action.into();
        move |source| Self::Docker { action, source }
    }

    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}

/// Whether a registry refuses because of a rate limit. Docker Hub says `toomanyrequests`, others
/// use HTTP's status.
fn is_rate_limit(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["toomanyrequests", "too many requests", "rate limit"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// Git, hooks, caches and artifacts count as the job's own work, although the helper does it. If
/// the helper was killed or its answer is unreadable, the runner failed.
fn reason_of_helper(what: &str, exit_code: i64) -> FailureReason {
    const OF_THE_JOB: [&str; 5] = [
        "get_sources",
        "restore_cache",
        "download_artifacts",
        "archive_cache",
        "upload_artifacts",
    ];
    if OF_THE_JOB.contains(&what) && exit_code > 0 {
        FailureReason::ScriptFailure
    } else {
        FailureReason::RunnerSystemFailure
    }
}

/// Whether an image was not to be had because nobody answered for its registry: it may be there a
/// moment later.
pub(crate) fn is_out_of_reach(text: &str) -> bool {
    const NOBODY_THERE: [&str; 8] = [
        "dial tcp",
        "connection refused",
        "no such host",
        "i/o timeout",
        "tls handshake",
        "client.timeout exceeded",
        "request canceled",
        "connection reset",
    ];
    let text = text.to_ascii_lowercase();
    NOBODY_THERE.iter().any(|words| text.contains(words))
}

/// By the message of the engine or the registry: unreachable, no such image or no access, or
/// anything else. An image that is missing on the host only means that it may not be pulled.
fn reason_of_image(tried: &str) -> FailureReason {
    const NOT_TO_BE_HAD: [&str; 8] = [
        "not found",
        "manifest unknown",
        "pull access denied",
        "access to the resource is denied",
        "no basic auth credentials",
        "repository does not exist or may require",
        "unauthorized",
        "authentication required",
    ];
    let last = tried.rsplit("; ").next().unwrap_or(tried);
    let last = last.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| last.contains(words));
    if last.starts_with("never: ") {
        FailureReason::RunnerSystemFailure
    } else if is_out_of_reach(&last) {
        FailureReason::RunnerExternalDependencyFailure
    } else if says(&NOT_TO_BE_HAD) {
        FailureReason::RunnerConfigurationError
    } else {
        FailureReason::ImagePullFailure
    }
}

/// The engine's message without the client's wrapping.
fn docker_message(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
