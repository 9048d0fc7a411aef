//! Why a job failed, in GitLab's terms.

use serde::{Deserialize, Serialize};

/// Why a job failed. GitLab shows it and evaluates `retry:when` with it.
///
/// Source: `common/network.go` of GitLab Runner 19.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// A script ended with an exit code other than 0.
    ScriptFailure,
    /// The runner failed.
    RunnerSystemFailure,
    /// The job took longer than it may.
    JobExecutionTimeout,
    /// The job's image could not be pulled.
    ImagePullFailure,
    /// The job needs something that the runner is not configured for.
    RunnerConfigurationError,
    /// An external dependency failed, such as a registry or a clone.
    RunnerExternalDependencyFailure,
    /// The runner was told to stop while the job ran.
    RunnerInterrupted,
    /// The job was canceled. GitLab has no such reason, as it knows of the cancel itself.
    JobCanceled,
    /// Anything else, and every reason of newer GitLab versions.
    #[default]
    #[serde(other)]
    UnknownFailure,
}

impl FailureReason {
    /// The reason's name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScriptFailure => "script_failure",
            Self::RunnerSystemFailure => "runner_system_failure",
            Self::JobExecutionTimeout => "job_execution_timeout",
            Self::ImagePullFailure => "image_pull_failure",
            Self::RunnerConfigurationError => "runner_configuration_error",
            Self::RunnerExternalDependencyFailure => "runner_external_dependency_failure",
            Self::RunnerInterrupted => "runner_interrupted",
            Self::JobCanceled => "job_canceled",
            Self::UnknownFailure => "unknown_failure",
        }
    }

    /// The closest reason that this GitLab supports
    /// ([`GitLabFeatures::failure_reasons`](crate::job::GitLabFeatures)).
    ///
    /// Every GitLab supports three of the reasons; a newer one falls back to the one it was split
    /// from.
    pub fn supported_by(self, known: &[Self]) -> Self {
        let supported = |reason: Self| {
            known.contains(&reason)
                || matches!(
                    reason,
                    Self::ScriptFailure | Self::RunnerSystemFailure | Self::JobExecutionTimeout
                )
        };
        if supported(self) {
            return self;
        }
        match self {
            Self::ImagePullFailure | Self::RunnerExternalDependencyFailure => {
                Self::RunnerSystemFailure
            }
            Self::RunnerConfigurationError => Self::ScriptFailure,
            _ => Self::UnknownFailure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fall_back_to_what_gitlab_knows() {
        use FailureReason as R;
        assert_eq!(
            R::ImagePullFailure.supported_by(&[R::ImagePullFailure]),
            R::ImagePullFailure
        );
        assert_eq!(
            R::ImagePullFailure.supported_by(&[]),
            R::RunnerSystemFailure
        );
        assert_eq!(
            R::RunnerConfigurationError.supported_by(&[]),
            R::ScriptFailure
        );
        assert_eq!(R::ScriptFailure.supported_by(&[]), R::ScriptFailure);
        assert_eq!(R::RunnerInterrupted.supported_by(&[]), R::UnknownFailure);
        assert_eq!(
            R::JobCanceled.supported_by(&[R::UnknownFailure]),
            R::UnknownFailure
        );
    }

    #[test]
    fn names_are_those_of_the_protocol() {
        for reason in [
            FailureReason::ScriptFailure,
            FailureReason::RunnerInterrupted,
            FailureReason::JobCanceled,
            FailureReason::UnknownFailure,
        ] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        let newer: FailureReason = serde_json::from_str(r#""eaten_by_the_dog""#).unwrap();
        assert_eq!(newer, FailureReason::UnknownFailure);
    }
}
