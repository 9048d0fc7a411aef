//! The store beneath: named objects, conditional writes, nothing else.

use std::fmt;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::Error;

/// What a store's call gives, sooner or later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// An object's version, as the store names it.
///
/// S3 makes it of the content, so two equal contents have the same one: that is why every object
/// here carries a counter (see [`crate::Object`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// Takes the store's text as it is, quotes included.
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

/// What must hold for a write to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// There is no such object (`If-None-Match: *`).
    Absent,
    /// The object has this version (`If-Match`).
    Matches(ETag),
}

/// What became of a conditional write that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It was applied; this is the new version.
    Written(ETag),
    /// The condition did not hold (412), or what was to be replaced is gone (404). After retries
    /// by an SDK it may even be one's own write: look.
    Refused,
    /// Somebody wrote at the same moment, and the store did not look at the condition at all
    /// (409). It says nothing about what stands: try again.
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
/// An `Err` of a write says nothing about whether it was applied: read again.
pub trait Ledger: Send + Sync {
    /// The object's content and version, or `None`.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<(Vec<u8>, ETag)>>;

    /// Writes the whole object if `condition` holds.
    fn put_if<'a>(&'a self, key: &'a str, body: Vec<u8>, condition: Condition) -> Answer<'a, Put>;

    /// All objects whose key begins with `prefix`, in the keys' order.
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>>;

    /// Removes the object, whatever its version; no error if there is none.
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;
}
