//! One resource that is there, and the tags by which it is found again.

use aws_sdk_ec2::types::{Filter, Tag};
use onspot_reconcile::{ROLE, STACK, Tags};

use crate::{Error, Role};

/// A resource of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// EC2's id.
    pub id: String,
    /// Which part of the network it is, by its role tag; `None` without a known role tag.
    pub role: Option<Role>,
    /// What else the diff needs to know about it.
    pub state: T,
}

/// All resources of one kind, or why they could not be listed.
pub(crate) type Listed<T> = Result<Vec<Found<T>>, Error>;

/// The filter that finds the stack's resources.
pub(crate) fn of_stack(stack: &str) -> Filter {
    Filter::builder()
        .name(format!("tag:{STACK}"))
        .values(stack)
        .build()
}

/// The role that a resource's tags give it.
pub(crate) fn role_of(tags: Option<Vec<Tag>>) -> Option<Role> {
    let pairs = tags.unwrap_or_default().into_iter();
    let tags: Tags = pairs
        .filter_map(|tag| Some((tag.key?, tag.value?)))
        .collect();
    tags.get(ROLE)?.parse().ok()
}
