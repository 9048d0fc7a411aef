//! Payloads: jobs as GitLab sent them.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::TraceMark;

/// A job as GitLab sent it with its 201; written once, before the record.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct JobPayload {
    /// The unchanged JSON. It contains secrets (the job's token and variables).
    pub raw: Value,
}

/// What a worker needs for one attempt; written once, before the order.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkPayload {
    /// The attempt's number.
    pub attempt: u32,
    /// When the attempt must be over.
    pub deadline: Timestamp,
    /// The trace's end, if its last writer handed it over.
    pub trace: Option<TraceMark>,
    /// What became of the earlier attempts, oldest first, for the trace.
    #[serde(default)]
    pub losses: Vec<String>,
    /// The runner's short token, which is part of the jobs' cache keys.
    pub short_token: String,
    /// The unchanged JSON. It contains secrets (the job's token and variables).
    pub raw: Value,
}

impl fmt::Debug for JobPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobPayload").finish_non_exhaustive()
    }
}

impl fmt::Debug for WorkPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkPayload")
            .field("attempt", &self.attempt)
            .field("deadline", &self.deadline)
            .field("trace", &self.trace)
            .field("losses", &self.losses)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_logged() {
        let raw = serde_json::json!({"token": "very-secret"});
        let job = JobPayload { raw: raw.clone() };
        let work = WorkPayload {
            attempt: 1,
            deadline: Timestamp::UNIX_EPOCH,
            trace: None,
            losses: Vec::new(),
            short_token: "abc".to_owned(),
            raw,
        };
        let logged = format!("{job:?} {work:?}");
        assert!(!logged.contains("very-secret"), "{logged}");
    }
}
