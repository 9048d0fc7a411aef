//! How a job ended.

use serde::{Deserialize, Serialize};

/// How a job ended, as reported to GitLab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The job's final state.
    pub ending: Ending,
    /// GitLab's failure reason (`script_failure` and so on).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// The script's exit code, if it ran to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A job's final state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The script ended with 0.
    Success,
    /// The script ended with another exit code, or could not be run.
    Failed,
    /// Somebody cancelled the job.
    Canceled,
}

impl Verdict {
    /// The script ended with 0.
    pub fn success() -> Self {
        Self {
            ending: Ending::Success,
            failure_reason: None,
            exit_code: Some(0),
            message: None,
        }
    }

    /// The job failed; `reason` is GitLab's failure reason.
    pub fn failed(reason: &str, message: impl Into<String>) -> Self {
        Self {
            ending: Ending::Failed,
            failure_reason: Some(reason.to_owned()),
            exit_code: None,
            message: Some(message.into()),
        }
    }

    /// Somebody cancelled the job.
    pub fn canceled() -> Self {
        Self {
            ending: Ending::Canceled,
            failure_reason: None,
            exit_code: None,
            message: None,
        }
    }
}
