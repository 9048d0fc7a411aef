//! What can go wrong between the executor and its host.

use onspot_gitlab::FailureReason;

/// An error of an executor. Its text is a fragment that fits "… failed: {error}".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// No Docker engine answers.
    #[error("no Docker engine answers")]
    NoEngine {
        /// What the connection said.
        #[source]
        source: bollard::errors::Error,
    },
    /// A call to the Docker engine failed.
    #[error("{action}: {}", docker_message(source))]
    Docker {
        /// What was being done, for people: `create the job's container`.
        action: String,
        /// What the engine said.
        #[source]
        source: bollard::errors::Error,
    },
    /// An image could not be had under any of the pull policies.
    #[error("image {image} could not be had ({tried})")]
    Image {
        /// The image's name.
        image: String,
        /// The policies and what came of each.
        tried: String,
    },
    /// The job asks for what the runner's configuration does not allow.
    #[error("{0}")]
    NotAllowed(String),
    /// The helper container did not do what was asked of it.
    #[error("{what} failed in the helper (exit code {exit_code})")]
    Helper {
        /// The request, for people: `get_sources`.
        what: String,
        /// The helper's exit code; -1 when it was killed.
        exit_code: i64,
    },
    /// The `onspot` binary does not run in the helper image.
    #[error("the onspot binary does not run in the helper image: {output}")]
    HelperBinary {
        /// What it printed.
        output: String,
    },
    /// A container of the job does not die.
    #[error("container {container} does not end")]
    StillRunning {
        /// Its id.
        container: String,
    },
    /// Processes of the job do not die.
    #[error("some of the job's processes do not end")]
    Unkillable,
    /// The executor was closed: it runs no more jobs.
    #[error("no more jobs are run here")]
    Closed,
    /// A file or process of this host.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The job's payload asks for something that makes no sense.
    #[error("{0}")]
    Payload(String),
    /// The cache could not be addressed.
    #[error(transparent)]
    Cache(#[from] onspot_cache::CacheError),
}

impl ExecutorError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoEngine { .. } => Some(
                "install and start Docker, and make sure that `docker version` works for this user"
                    .into(),
            ),
            Self::Image { tried, .. } if is_rate_limit(tried) => Some(
                "the registry counts pulls, and too many came from this address: set \
                 registry_mirrors to a mirror of your own, give the runner a login of the registry \
                 (DOCKER_AUTH_CONFIG in its environment), or let it keep images with pull_policy = \
                 \"if-not-present\""
                    .into(),
            ),
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

    /// What GitLab is told when a job ends by this error.
    pub fn failure_reason(&self) -> FailureReason {
        match self {
            Self::Image { .. } => FailureReason::ImagePullFailure,
            Self::NotAllowed(_) => FailureReason::RunnerConfigurationError,
            _ => FailureReason::RunnerSystemFailure,
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

/// Whether a registry refuses because of how much was asked of it. Docker Hub says
/// `toomanyrequests`, others the number that HTTP has for it.
fn is_rate_limit(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["toomanyrequests", "too many requests", "rate limit"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The engine's own words, without the client's wrapping.
fn docker_message(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_counts_pulls_gets_words_and_what_to_set() {
        let failed = |tried: &str| ExecutorError::Image {
            image: "alpine".into(),
            tried: tried.into(),
        };
        let refused = failed(
            "always: toomanyrequests: You have reached your unauthenticated pull rate limit.",
        );
        let hint = refused.hint().unwrap();
        for text in ["registry_mirrors", "DOCKER_AUTH_CONFIG", "if-not-present"] {
            assert!(hint.contains(text), "{hint}");
        }
        assert_eq!(refused.failure_reason(), FailureReason::ImagePullFailure);
        let other = failed("always: manifest unknown").hint().unwrap();
        assert!(!other.contains("registry_mirrors"), "{other}");
    }
}
