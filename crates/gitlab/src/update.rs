//! Reports to GitLab about a job: that it runs, or its result.

use serde::{Deserialize, Serialize};

use crate::failure::FailureReason;
use crate::job::GitLabFeatures;

/// The states a runner can report. There is no "canceled": a canceled job is reported as failed,
/// and GitLab shows it as canceled because it knows of the cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Running; also used as keep-alive.
    Running,
    /// The job succeeded.
    Success,
    /// The job failed.
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
    /// Size and checksum of the whole trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceSummary>,
}

impl JobUpdate {
    /// The job is running.
    pub const fn running() -> Self {
        Self {
            state: JobState::Running,
            failure_reason: None,
            exit_code: None,
            trace: None,
        }
    }

    /// The job succeeded.
    pub const fn success() -> Self {
        Self {
            state: JobState::Success,
            failure_reason: None,
            exit_code: None,
            trace: None,
        }
    }

    /// The job failed.
    pub const fn failed(reason: FailureReason, exit_code: Option<i32>) -> Self {
        Self {
            state: JobState::Failed,
            failure_reason: Some(reason),
            exit_code,
            trace: None,
        }
    }

    /// The job was canceled.
    pub const fn canceled() -> Self {
        Self::failed(FailureReason::JobCanceled, None)
    }

    /// Adds size and checksum of the trace.
    pub const fn with_trace(self, trace: TraceSummary) -> Self {
        Self {
            trace: Some(trace),
            ..self
        }
    }

    /// The same report with a failure reason that this GitLab supports.
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

/// Size and checksum of a whole trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceSummary {
    /// CRC-32 (IEEE) of all its bytes. Absent if somebody else wrote a part of the trace: then
    /// GitLab checks nothing and accepts the result at once.
    pub crc32: Option<u32>,
    /// Its size in bytes.
    pub bytes: u64,
}
