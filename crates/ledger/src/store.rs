//! The underlying store: named objects and conditional writes.

use std::fmt;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The future of a call to the store.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// An object's version, as named by the store.
///
/// S3 derives it from the content, so equal contents have the same version: that is why every
/// object here has a counter (see [`crate::Object`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// Wraps the store's text unchanged, quotes included.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The store's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The condition of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The object does not exist (`If-None-Match: *`).
    Absent,
    /// The object has this version (`If-Match`).
    Matches(ETag),
}

/// The outcome of a conditional write that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It was applied; this is the new version.
    Written(ETag),
    /// The condition did not hold (412), or the object to replace is gone (404). After retries by
    /// an SDK the existing object may even be from this very write: read it.
    Refused,
    /// A concurrent write (409): the store did not evaluate the condition, so this says nothing
    /// about the object. Try again.
    Conflict,
}

/// An object's name and version in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key, without the ledger's prefix.
    pub key: String,
    /// Its version at the time of the listing.
    pub etag: ETag,
}

/// Named objects with conditional writes.
///
/// Two implementations: [`crate::S3Ledger`], and [`crate::MemoryLedger`] for one host without
/// AWS. Both are strongly consistent: a read that begins after a write was answered sees it.
///
/// After an `Err` of a write it may or may not have been applied: read again.
pub trait Ledger: Send + Sync {
    /// The object's content and version, or `None`.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<(Vec<u8>, ETag)>>;

    /// Writes the whole object if `condition` holds.
    fn put_if<'a>(&'a self, key: &'a str, body: Vec<u8>, condition: Condition) -> Answer<'a, Put>;

    /// All objects whose key begins with `prefix`, in the order of their keys.
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>>;

    /// Removes the object, whatever its version; no error if there is none.
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;
}
