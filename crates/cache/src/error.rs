//! Errors of caches and archives.

use std::path::PathBuf;

/// An error of this crate. Its text is a fragment for use in "… failed: {error}".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A cache key that consists only of dots, slashes and blanks.
    #[error("the cache key {key:?} names nothing")]
    EmptyKey {
        /// The key as in the job, after expansion.
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
        /// The system's error.
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
    /// The archive holds more bytes than it may.
    #[error("the archive holds more than the {most} bytes that may be unpacked here")]
    TooLarge {
        /// How many it may hold.
        most: u64,
    },
    /// The archive holds more files than it may.
    #[error("the archive holds more than the {most} files and folders that may be unpacked here")]
    TooMany {
        /// How many it may hold.
        most: u64,
    },
    /// The archive could not be written.
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
    /// The server refused; another try would not help.
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

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused {
                status: 403,
                action: "download",
                ..
            } => Some(
                "the role lacks s3:ListBucket (without it S3 refuses missing objects too), \
                 s3:GetObject or, with your own KMS key, kms:Decrypt; `onspot up` repairs the \
                 policy of its own roles"
                    .into(),
            ),
            Self::Refused { status: 403, .. } => Some(
                "the role lacks s3:PutObject below the cache's prefix or, with your own KMS key, \
                 kms:GenerateDataKey; `onspot up` repairs the policy of its own roles"
                    .into(),
            ),
            Self::TooLarge { .. } | Self::TooMany { .. } => Some(
                "the other jobs of this host need room too: keep less in caches and artifacts, or \
                 give the workers larger disks"
                    .into(),
            ),
            Self::Sign(_) => Some("check the AWS credentials of this worker".into()),
            _ => None,
        }
    }

    /// Whether another try may succeed, because the server did not refuse.
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

/// An error with its causes: the outermost layer alone ("dispatch failure") says too little.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
