//! What can go wrong with the network.

use ipnet::Ipv4Net;
use onspot_reconcile::{CallError, TagError};

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// AWS refused a call or could not be reached.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A tag that AWS would refuse.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The range has no room for the subnets.
    #[error("network {cidr} is too small: it must be at least a /{needed}")]
    TooSmall {
        /// The range.
        cidr: Ipv4Net,
        /// The longest prefix that would do.
        needed: u8,
    },
    /// The range is bigger than AWS allows.
    #[error("network {cidr} is too big: AWS allows a /{allowed} at most")]
    TooBig {
        /// The range.
        cidr: Ipv4Net,
        /// The shortest prefix that AWS allows.
        allowed: u8,
    },
    /// The range does not start where its prefix says.
    #[error("network {cidr} has bits set after its prefix")]
    HostBits {
        /// The range.
        cidr: Ipv4Net,
        /// What was probably meant.
        network: Ipv4Net,
    },
    /// The range belongs to something else.
    #[error("network {cidr} cannot be used: it belongs to {by}")]
    Reserved {
        /// The range.
        cidr: Ipv4Net,
        /// What it belongs to.
        by: &'static str,
    },
    /// No zone was given.
    #[error("a network needs one availability zone at least")]
    NoZone,
    /// The zone's name does not end with a letter from a to h.
    #[error("{zone:?} is not the name of an availability zone")]
    UnknownZone {
        /// The name.
        zone: String,
    },
    /// Two zones would get the same range.
    #[error("zones {other} and {zone} end with the same letter and would share addresses")]
    ZonesCollide {
        /// The later one.
        zone: String,
        /// The earlier one.
        other: String,
    },
    /// The VPC exists with another range, which AWS cannot change.
    #[error("the network exists as {existing}, and cannot become {wanted}")]
    RangeChanged {
        /// What the VPC has.
        existing: String,
        /// What was asked for.
        wanted: Ipv4Net,
    },
    /// More than one resource claims to be the same part of the stack.
    #[error("there are several {role} in stack {stack}: {}", ids.join(", "))]
    Ambiguous {
        /// The stack.
        stack: String,
        /// The part.
        role: String,
        /// All that claim to be it.
        ids: Vec<String>,
    },
    /// AWS's answer lacks something that it always has.
    #[error("the answer to {operation} lacks {what}")]
    Incomplete {
        /// The operation in AWS's spelling.
        operation: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// A plan refers to something that neither exists nor is made by it.
    #[error("the network has no {role} yet")]
    Missing {
        /// The part.
        role: String,
    },
    /// The NAT gateway could not start.
    #[error("NAT gateway {id} failed: {why}")]
    NatFailed {
        /// Its id.
        id: String,
        /// EC2's reason.
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
        let hint = match self {
            Self::Call(error) => return error.hint(),
            Self::Tag(error) => return error.hint(),
            Self::TooSmall { cidr, needed } => {
                format!(
                    "choose a bigger range, for example {}",
                    with_prefix(*cidr, *needed)
                )
            }
            Self::TooBig { cidr, allowed } => {
                format!(
                    "choose a smaller range, for example {}",
                    with_prefix(*cidr, *allowed)
                )
            }
            Self::HostBits { network, .. } => format!("write {network}"),
            Self::Reserved { .. } => "choose another range, for example 10.0.0.0/16".into(),
            Self::NoZone => "name one in network.zones, or leave it out for up to three".into(),
            Self::UnknownZone { .. } => "write it as AWS does, for example eu-west-1a".into(),
            Self::ZonesCollide { .. } => "leave one of them out".into(),
            Self::RangeChanged { existing, .. } => {
                format!("keep {existing}, or take the stack down first")
            }
            Self::Ambiguous { .. } => {
                "two `up` at once may have made them. `onspot down` removes all of them, and the next \
                 `onspot up` makes one. To keep one instead, see which has the instances (aws ec2 \
                 describe-instances --filters Name=tag-key,Values=onspot:stack) and delete the others \
                 with all that is in them"
                    .into()
            }
            Self::TooSlow { .. } => "run the same command again: it goes on from here".into(),
            Self::NatFailed { .. } => "run the same command again: it makes another one".into(),
            Self::Incomplete { .. } | Self::Missing { .. } => return None,
        };
        Some(hint)
    }
}

/// The network of this prefix that `cidr` begins in.
fn with_prefix(cidr: Ipv4Net, prefix: u8) -> Ipv4Net {
    Ipv4Net::new(cidr.network(), prefix).map_or(cidr, |net| net.trunc())
}
