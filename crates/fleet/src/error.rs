//! The errors of instances, launch templates and the managers' group.

use onspot_reconcile::{CallError, TagError};

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// AWS refused a call or could not be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A tag that instances cannot show in their metadata.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// There is no such machine image in the region.
    #[error("there is no machine image {image} in this region")]
    NoImage {
        /// The image's id, or what was searched for.
        image: String,
    },
    /// The launch template that something refers to does not exist.
    #[error("there is no launch template {template} in this stack")]
    NoTemplate {
        /// Its name.
        template: String,
    },
    /// More user-data than EC2 accepts.
    #[error("the user-data of {template} has {bytes} bytes: EC2 accepts {limit}")]
    UserData {
        /// The launch template.
        template: String,
        /// How long it is, in bytes.
        bytes: usize,
        /// How long it may be, in bytes.
        limit: usize,
    },
    /// AWS's answer lacks something that it always has.
    #[error("the answer to {operation} lacks {what}")]
    Incomplete {
        /// The operation in AWS's spelling.
        operation: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// An Auto Scaling group cannot launch its instances.
    #[error("auto scaling group {group} cannot launch its instances: {why}")]
    CannotLaunch {
        /// The group's name.
        group: String,
        /// Why, in AWS's words.
        why: String,
    },
    /// Something did not happen in time.
    #[error("{what} is still not {state} after {seconds} s")]
    TooSlow {
        /// What was waited for.
        what: String,
        /// The state that was waited for.
        state: &'static str,
        /// How long, in seconds.
        seconds: u64,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Call(error) => error.hint(),
            Self::Tag(error) => error.hint(),
            Self::NoImage { .. } => {
                Some("check the region and the image's id, or leave `ami` out".into())
            }
            Self::UserData { .. } => Some("shorten the runner's configuration".into()),
            Self::Incomplete { .. } | Self::NoTemplate { .. } => None,
            Self::CannotLaunch { .. } => Some(
                "mend that, or choose another `instance_type` in [manager] or other zones in \
                 [network], and run the same command again"
                    .into(),
            ),
            Self::TooSlow { .. } => Some("run the same command again: it goes on from here".into()),
        }
    }
}
