//! What the calls of all resources share: ids, tags, and the patience that EC2 needs.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ResourceType, TagSpecification};
use onspot_reconcile::{CallError, Patience, Step};

use crate::spec::Desired;
use crate::tagging::sdk_tags;
use crate::{Error, Role};

/// Every address, as routes and rules write it.
pub(crate) const ANYWHERE: &str = "0.0.0.0/0";

/// How long a new resource may stay unknown to other calls: EC2 is eventually consistent.
const SETTLING: Patience = Patience::new(Duration::from_secs(1), Duration::from_mins(1));
/// How long the last users of a resource may take to release it.
const RELEASING: Patience = Patience::new(Duration::from_secs(3), Duration::from_mins(10));

/// A plan that is being carried out.
pub(crate) struct Applier<'a> {
    pub(crate) ec2: &'a Client,
    pub(crate) desired: Option<&'a Desired>,
    /// What exists by now.
    pub(crate) ids: BTreeMap<Role, String>,
}

impl Applier<'_> {
    /// The id of a part that exists by now.
    pub(crate) fn id(&self, role: &Role) -> Result<&str, Error> {
        let id = self.ids.get(role).map(String::as_str);
        id.ok_or_else(|| missing(role))
    }

    /// What is wanted; a plan that creates something always has it.
    pub(crate) fn desired(&self) -> Result<&Desired, Error> {
        self.desired.ok_or_else(|| missing("specification"))
    }

    /// The tags of a part, for the call that creates it.
    pub(crate) fn tags(&self, kind: ResourceType, role: &Role) -> Result<TagSpecification, Error> {
        let tags = sdk_tags(&self.desired()?.tags(role));
        Ok(TagSpecification::builder()
            .resource_type(kind)
            .set_tags(Some(tags))
            .build())
    }
}

/// The error of a part that neither exists nor was made.
pub(crate) fn missing(part: &(impl ToString + ?Sized)) -> Error {
    Error::Missing {
        role: part.to_string(),
    }
}

/// Calls until EC2 knows what the call refers to.
pub(crate) async fn settled<T, F>(call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, CallError>>,
{
    Ok(SETTLING.retry(CallError::is_not_found, call).await?)
}

/// Calls until nothing depends on the resource any more. A resource that is gone is fine.
pub(crate) async fn released<T, F>(
    step: &Step<'_>,
    mut call: impl FnMut() -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut told = false;
    let retry = |error: &CallError| {
        if error.is_in_use() && !std::mem::replace(&mut told, true) {
            step.waiting("what still depends on it to go");
        }
        error.is_in_use()
    };
    match RELEASING.retry(retry, &mut call).await {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

/// The id that every answer to `operation` has.
pub(crate) fn required(
    id: Option<String>,
    operation: &'static str,
    what: &'static str,
) -> Result<String, Error> {
    id.ok_or(Error::Incomplete { operation, what })
}

/// The idempotency token of a request: EC2 makes nothing twice when a request is repeated because
/// its answer was lost. Each decision gets a new token, because EC2 answers a known one with the
/// resource it made first, even if that has been deleted since.
pub(crate) fn token() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Ignores the error of a repeated call that finds its work done.
pub(crate) fn already_there_is_fine<T>(result: Result<T, Error>) -> Result<(), Error> {
    match result {
        Err(Error::Call(error)) if CallError::is_already_there(&error) => Ok(()),
        other => other.map(drop),
    }
}
