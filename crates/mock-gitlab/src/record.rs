//! The runners' calls about jobs, and their violations of the protocol.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::JobId;

/// Who made a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The address it came from, without the port.
    pub address: String,
    /// Its `User-Agent`, empty if it gave none.
    pub user_agent: String,
    /// The runner machine's name, if the call carried one (`info.name`).
    pub name: Option<String>,
}

/// One call about one job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobCall {
    /// When it came.
    pub at: Timestamp,
    /// The caller.
    pub caller: Caller,
    /// Its content.
    pub kind: JobCallKind,
    /// The answer's HTTP status.
    pub status: u16,
}

/// The content of a call about a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "call")]
pub enum JobCallKind {
    /// `POST jobs/request` was answered with this job.
    Assigned {
        /// The machine that made the request.
        system_id: Option<String>,
    },
    /// `PUT jobs/:id`.
    State {
        /// The state it reported.
        state: String,
        /// Why the job failed.
        failure_reason: Option<String>,
        /// The script's exit code.
        exit_code: Option<i64>,
        /// Size of the trace in bytes, as the runner counted it.
        bytesize: Option<u64>,
        /// Checksum of the trace, as the runner computed it (`crc32:…`).
        checksum: Option<String>,
    },
    /// `PATCH jobs/:id/trace`.
    Trace {
        /// Offset of the first byte.
        start: u64,
        /// Number of bytes in the body.
        length: u64,
    },
    /// `POST jobs/:id/artifacts`.
    Artifact {
        /// `archive`, or a report's type.
        artifact_type: String,
        /// Size in bytes.
        size: u64,
    },
    /// `GET jobs/:id/artifacts`: this job's artifacts were fetched.
    ArtifactFetched,
}

/// A violation of the protocol by a runner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Violation {
    /// When it happened.
    pub at: Timestamp,
    /// The job it happened to.
    pub job: JobId,
    /// What kind it is.
    pub kind: ViolationKind,
    /// Details for people.
    pub detail: String,
    /// Who did it, if known.
    pub caller: Option<Caller>,
}

/// The kinds of protocol violations that the server detects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// The same result was reported again after it had been accepted with 200.
    RepeatedResult,
    /// A different result than the accepted one was reported.
    ConflictingResult,
    /// Something was written after a result had been accepted.
    WriteAfterEnd,
    /// Bytes were sent for a range that already holds other bytes.
    OverlappingTrace,
    /// The result's size or checksum is not that of the trace.
    TraceMismatch,
    /// The trace shows a secret.
    UnmaskedSecret,
    /// A required part was missing or unreadable.
    Malformed,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "job {}: {:?}: {}", self.job, self.kind, self.detail)?;
        if let Some(caller) = &self.caller {
            write!(f, " (from {}, {})", caller.address, caller.user_agent)?;
        }
        Ok(())
    }
}
