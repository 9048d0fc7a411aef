//! What is told to GitLab about a job: that it runs, or what came of it.

use serde::{Deserialize, Serialize};

use crate::failure::FailureReason;
use crate::job::GitLabFeatures;

/// The states a runner can report. There is no "canceled": a job that was canceled is reported as
/// failed, and GitLab makes that "canceled", as it knows of the cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Being worked on: also the sign of life.
    Running,
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
}

/// A report about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobUpdate {
    /// The state.
    pub state: JobState,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<FailureReason>,
    /// The script's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What the trace must be when it has arrived whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceSummary>,
}

impl JobUpdate {
    /// The job is being worked on.
    pub const fn running() -> Self {
        Self {
            state: JobState::Running,
            failure_reason: None,
            exit_code: None,
            trace: None,
        }
    }

    /// The job ended well.
    pub const fn success() -> Self {
        Self {
            state: JobState::Success,
            failure_reason: None,
            exit_code: None,
            trace: None,
        }
    }

    /// The job ended badly.
    pub const fn failed(reason: FailureReason, exit_code: Option<i32>) -> Self {
        Self {
            state: JobState::Failed,
            failure_reason: Some(reason),
            exit_code,
            trace: None,
        }
    }

    /// The job ended because it was canceled.
    pub const fn canceled() -> Self {
        Self::failed(FailureReason::JobCanceled, None)
    }

    /// The same report with what the trace must be.
    pub const fn with_trace(self, trace: TraceSummary) -> Self {
        Self {
            trace: Some(trace),
            ..self
        }
    }

    /// The same report with a reason that this GitLab knows.
    pub fn understood_by(self, features: &GitLabFeatures) -> Self {
        let failure_reason = self
            .failure_reason
            .map(|reason| reason.supported_by(&features.failure_reasons));
        Self {
            failure_reason,
            ..self
        }
    }
}

/// What a whole trace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceSummary {
    /// CRC-32 (IEEE) of all its bytes. Absent if a part of the trace was written by somebody
    /// else: GitLab then checks nothing, and takes the result at once.
    pub crc32: Option<u32>,
    /// Its size in bytes.
    pub bytes: u64,
}
