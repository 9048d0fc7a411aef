//! The record of every call to the AWS look-alike.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::credentials::Principal;

/// How many calls are kept; the oldest are dropped.
const KEPT: usize = 200_000;

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Call {
    /// When the request's head arrived.
    pub at: Timestamp,
    /// The caller.
    pub principal: Principal,
    /// The service, as in the signature's scope: `ec2`, `s3`, `logs`, …
    pub service: String,
    /// The operation: `CreateFleet`, `PutObject`, …
    pub action: String,
    /// For S3 the path; otherwise empty.
    pub resource: String,
    /// The answer's HTTP status.
    pub status: u16,
    /// AWS's error code, if the proxy itself refused it.
    pub refused: Option<String>,
    /// The time from the request's head to the answer's.
    pub took: Duration,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}:{} {} {}",
            self.at, self.principal, self.service, self.action, self.resource, self.status
        )?;
        if let Some(code) = &self.refused {
            write!(f, " refused: {code}")?;
        }
        Ok(())
    }
}

/// All calls so far, oldest first; clones share one record.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    /// Adds one.
    pub fn push(&self, call: Call) {
        let mut calls = self.0.lock();
        if calls.len() >= KEPT {
            calls.drain(..KEPT / 2);
        }
        calls.push(call);
    }

    /// The calls for which `wanted` is true.
    pub fn matching(&self, wanted: impl Fn(&Call) -> bool) -> Vec<Call> {
        let calls = self.0.lock();
        calls.iter().filter(|call| wanted(call)).cloned().collect()
    }

    /// The number of calls: a mark for [`Calls::since`].
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there was no call yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The calls after the first `mark`.
    pub fn since(&self, mark: usize) -> Vec<Call> {
        let calls = self.0.lock();
        calls.iter().skip(mark).cloned().collect()
    }
}
