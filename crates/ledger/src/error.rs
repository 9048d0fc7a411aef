//! Errors of reading and writing the ledger.

use std::time::Duration;

/// A call to the ledger without an answer, or with an unusable one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer in time; a write may or may not have been applied.
    #[error("no answer to {operation} {key} within {limit:?}")]
    Timeout {
        /// The call.
        operation: &'static str,
        /// The object.
        key: String,
        /// The call's time limit.
        limit: Duration,
    },
    /// The store could not be reached or failed; a write may or may not have been applied.
    #[error("cannot {operation} {key}")]
    Unavailable {
        /// The call.
        operation: &'static str,
        /// The object.
        key: String,
        /// The store's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Every try to write the object met a concurrent write.
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
        /// The store's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object does not have the format of this version.
    #[error("{key} is not what this version writes")]
    Malformed {
        /// The object.
        key: String,
        /// The parse error.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// What a person can do about it.
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
