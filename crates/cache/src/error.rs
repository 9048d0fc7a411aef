//! What can go wrong with caches and archives.

use std::path::PathBuf;

/// An error of this crate. Its text is a fragment that fits "… failed: {error}".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A cache key that is nothing but dots, slashes and blanks.
    #[error("the cache key {key:?} names nothing")]
    EmptyKey {
        /// The key as the job gave it, expanded.
        key: String,
    },
    /// A pattern of `paths` or `exclude` that is not a glob.
    #[error("the pattern {pattern:?} is not a glob")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: globset::Error,
    },
    /// A file could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// `read`, `create`, …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An archive entry whose name would lie outside the folder.
    #[error("the archive has an entry outside its folder: {name:?}")]
    Escapes {
        /// The entry's name.
        name: String,
    },
    /// The archive itself is broken.
    #[error("the archive cannot be read: {0}")]
    Archive(String),
    /// The archive could not be made.
    #[error("the archive cannot be written: {0}")]
    Write(String),
    /// The transfer failed after all tries.
    #[error("{action} failed after {tries} tries: {message}")]
    Transfer {
        /// `download` or `upload`.
        action: &'static str,
        /// How often it was tried.
        tries: u32,
        /// The last failure, without the signed part of the URL.
        message: String,
    },
    /// The other side refused; trying again would not help.
    #[error("{action} refused: HTTP {status}{}", shown(detail))]
    Refused {
        /// `download` or `upload`.
        action: &'static str,
        /// The HTTP status.
        status: u16,
        /// The service's own code, if it gave one (`AccessDenied`).
        detail: String,
    },
    /// A URL could not be signed.
    #[error("the cache's URL cannot be signed: {0}")]
    Sign(String),
}

impl CacheError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused {
                status: 403,
                action: "download",
                ..
            } => Some(
                "S3 answers so for what is not there, if the role lacks s3:ListBucket, and for \
                 what is there, if it lacks s3:GetObject or, with an own KMS key, kms:Decrypt; \
                 `onspot up` puts the policy of its own roles right"
                    .into(),
            ),
            Self::Refused { status: 403, .. } => Some(
                "the role lacks s3:PutObject below the cache's prefix or, with an own KMS key, \
                 kms:GenerateDataKey; `onspot up` puts the policy of its own roles right"
                    .into(),
            ),
            Self::Sign(_) => Some("check the AWS credentials of this worker".into()),
            _ => None,
        }
    }

    /// Whether another try may go better: nobody said no.
    pub fn is_worth_another_try(&self) -> bool {
        matches!(
            self,
            Self::Archive(_) | Self::Transfer { .. } | Self::File { .. }
        )
    }

    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

fn shown(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(" ({detail})")
    }
}
