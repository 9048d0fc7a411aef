//! Why the ledger could not be read or written.

use std::time::Duration;

/// A call to the ledger that gave no answer, or one that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer in time; a write may or may not have been applied.
    #[error("no answer to {operation} {key} within {limit:?}")]
    Timeout {
        /// The call.
        operation: &'static str,
        /// The object.
        key: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The store could not be reached or failed; a write may or may not have been applied.
    #[error("cannot {operation} {key}")]
    Unavailable {
        /// The call.
        operation: &'static str,
        /// The object.
        key: String,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Others wrote the object at the same moment, each time that it was tried.
    #[error("cannot write {key}: others write it at the same moment")]
    Conflict {
        /// The object.
        key: String,
    },
    /// The store refuses these credentials.
    #[error("not allowed to {operation} {key}")]
    Denied {
        /// The call.
        operation: &'static str,
        /// The object.
        key: String,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object is not what this version writes.
    #[error("{key} is not what this version writes")]
    Malformed {
        /// The object.
        key: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Timeout { .. } | Self::Unavailable { .. } => {
                Some("check that the bucket's region and endpoint can be reached".to_owned())
            }
            Self::Conflict { .. } => None,
            Self::Denied { .. } => Some(
                "the role needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket \
                 below run/"
                    .to_owned(),
            ),
            Self::Malformed { .. } => Some(
                "run the same version of onspot on every instance (`onspot up` does that)"
                    .to_owned(),
            ),
        }
    }
}
