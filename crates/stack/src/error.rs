//! What can go wrong with a stack.

use std::path::PathBuf;

use onspot_reconcile::CallError;
use onspot_settings::TokenError;

use crate::names::BadName;
use crate::program::BinaryError;

/// A failure of this crate. The text is one sentence; [`Error::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// AWS refused a call or could not be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// AWS could not be reached at all.
    #[error("cannot reach AWS at {at}")]
    Unreachable {
        /// The endpoint.
        at: String,
        /// Why.
        #[source]
        source: CallError,
    },
    /// No region was named anywhere.
    #[error("no AWS region is set")]
    NoRegion,
    /// The name is not allowed for a stack.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The network could not be planned or made.
    #[error(transparent)]
    Network(#[from] onspot_netplan::Error),
    /// Launch templates or the managers' group could not be planned or made.
    #[error(transparent)]
    Fleet(#[from] onspot_fleet::Error),
    /// The bucket could not be planned or made.
    #[error(transparent)]
    Bucket(#[from] onspot_cache::bucket::BucketError),
    /// The ledger could not be read.
    #[error("the ledger could not be read")]
    Ledger(#[source] onspot_ledger::Error),
    /// The file is no binary that can run on the instances.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// The helper image's file can't be read.
    #[error("cannot read the helper image {}", path.display())]
    HelperImage {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A runner's token is not where its reference says.
    #[error("runner {runner:?}: {source}")]
    Token {
        /// The runner's name.
        runner: String,
        /// Why.
        source: TokenError,
    },
    /// The SSM parameter of a runner's token does not exist.
    #[error("runner {runner:?}: there is no SSM parameter {parameter}")]
    NoParameter {
        /// The runner's name.
        runner: String,
        /// The parameter's name.
        parameter: String,
    },
    /// GitLab refused a runner's token or could not be reached from here.
    #[error("runner {runner:?}: {source}")]
    GitLab {
        /// The runner's name.
        runner: String,
        /// Why.
        source: onspot_gitlab::Error,
    },
    /// No image of the operating system was found.
    #[error("AWS names no image for {os}")]
    NoImage {
        /// The operating system.
        os: String,
    },
    /// No zone of the region has the managers' instance type.
    #[error("no zone of {region} has the manager's instance type {instance_type}")]
    NotOffered {
        /// The type.
        instance_type: String,
        /// The region.
        region: String,
    },
    /// A boot script is too long for EC2.
    #[error("the boot script of {of} has {bytes} bytes, EC2 takes {limit}")]
    BootScript {
        /// Whose script it is.
        of: String,
        /// Its length.
        bytes: usize,
        /// EC2's limit.
        limit: usize,
    },
    /// Settings or configuration could not be written as TOML.
    #[error("the configuration of {of} could not be written")]
    Render {
        /// Whose configuration it is.
        of: String,
        /// Why.
        #[source]
        source: toml::ser::Error,
    },
    /// The manager did not say hello to GitLab in time.
    #[error(
        "the manager did not say hello to GitLab within {seconds} s: still waiting for {missing}"
    )]
    NoHello {
        /// How long `up` waited, in seconds.
        seconds: u64,
        /// What was still missing.
        missing: String,
        /// What is known about why, for people, one line each.
        diagnosis: Vec<String>,
    },
    /// Somebody else is changing the stack.
    #[error("the stack is being changed by {holder}")]
    Locked {
        /// Who, and since when.
        holder: String,
    },
    /// Somebody else has taken the stack's lock, or it could not be renewed.
    #[error("the stack's lock was lost{}", to(holder.as_deref()))]
    LockLost {
        /// Who has it now, if that is known.
        holder: Option<String>,
    },
    /// The stack has changed since somebody agreed to a plan for it.
    #[error("the stack has changed since its plan was shown: {}", differences.join("; "))]
    Changed {
        /// The changes that only one of the two plans has, one line each.
        differences: Vec<String>,
    },
    /// AWS's answer lacks something that it always has.
    #[error("the answer to {operation} lacks {what}")]
    Incomplete {
        /// The operation in AWS's spelling.
        operation: &'static str,
        /// What is missing.
        what: &'static str,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Call(error) | Self::Unreachable { source: error, .. } => return error.hint(),
            Self::Network(error) => return error.hint(),
            Self::Fleet(error) => return error.hint(),
            Self::Bucket(error) => return error.hint(),
            Self::Binary(error) => return error.hint(),
            Self::Ledger(error) => return error.hint(),
            Self::HelperImage { .. } => {
                "name a readable file with --helper FILE, or leave it out".to_owned()
            }
            Self::Token { source, .. } => return source.hint(),
            Self::GitLab { source, .. } if source.is_transient() => {
                let hint = source.hint().unwrap_or_default();
                format!("{hint} If only this host cannot reach it, say --no-verify.")
            }
            Self::GitLab { source, .. } => return source.hint(),
            Self::NoRegion => {
                "say region = \"eu-west-1\" in onspot.toml, or set AWS_REGION".to_owned()
            }
            Self::NoParameter { parameter, .. } => format!(
                "store it: aws ssm put-parameter --type SecureString --name {parameter} \
                 --value glrt-…"
            ),
            Self::NotOffered { .. } => {
                "choose another one: instance_type = \"t3.small\" in [manager]".to_owned()
            }
            Self::NoImage { .. } => "name one with `ami`".to_owned(),
            Self::NoHello { diagnosis, .. } if diagnosis.is_empty() => {
                "see `onspot status` and `onspot logs`; run `onspot up` again to go on waiting"
                    .to_owned()
            }
            Self::NoHello { diagnosis, .. } => diagnosis.join("\n"),
            Self::Locked { .. } => "run the same command again once that has ended; a lock whose \
                                    holder is gone is taken over by itself after 30 s"
                .to_owned(),
            Self::LockLost { .. } => {
                "this host slept or was cut off: run the same command again, it goes on from here"
                    .to_owned()
            }
            Self::Changed { .. } => {
                "nothing was done: run `onspot up` again and look at the new plan".to_owned()
            }
            Self::BootScript { .. } => "use fewer or shorter runners, or another stack".to_owned(),
            _ => return None,
        };
        Some(hint)
    }
}

fn to(holder: Option<&str>) -> String {
    holder.map_or(String::new(), |holder| format!(" to {holder}"))
}
