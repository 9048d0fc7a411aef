//! Reading, creating and replacing typed objects in a store.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::key::Key;
use crate::store::{Condition, ETag, Ledger, Put};

/// How often a write is tried that conflicts with concurrent ones.
const TRIES: u32 = 5;
/// The first pause after a conflict; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// An object that is rewritten. Its counter grows with every write, so that no two contents of an
/// object are equal and a stale writer's condition always fails.
pub trait Object: Serialize + DeserializeOwned {
    /// How often the object was written.
    fn counter(&self) -> u64;

    /// Sets the counter, before a write.
    fn set_counter(&mut self, counter: u64);
}

/// An object as read or written, and its version for the next write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// The content.
    pub value: T,
    /// Its version.
    pub etag: ETag,
}

/// Reads an object; `None` if there is none.
///
/// # Errors
/// If the store fails, or the object does not have the format of this version.
pub async fn read<T: DeserializeOwned>(
    ledger: &dyn Ledger,
    key: &Key<T>,
) -> Result<Option<Stored<T>>, Error> {
    let Some((body, etag)) = ledger.get(key.as_str()).await? else {
        return Ok(None);
    };
    let value = serde_json::from_slice(&body).map_err(|source| Error::Malformed {
        key: key.to_string(),
        source,
    })?;
    Ok(Some(Stored { value, etag }))
}

/// Writes an object that must not exist yet. `None` means that the write was refused: an object
/// exists, perhaps from an own write whose answer was lost. Only reading it tells ([`establish`]).
///
/// # Errors
/// If the store fails; the write may then have been applied.
pub async fn create<T: Serialize>(
    ledger: &dyn Ledger,
    key: &Key<T>,
    value: T,
) -> Result<Option<Stored<T>>, Error> {
    put(ledger, key, value, Condition::Absent).await
}

/// Creates an object, or reads the existing one if that was refused. Returns the object that
/// exists, or `None` if it was deleted in between.
///
/// # Errors
/// See [`create`] and [`read`].
pub async fn establish<T: Serialize + DeserializeOwned>(
    ledger: &dyn Ledger,
    key: &Key<T>,
    value: T,
) -> Result<Option<Stored<T>>, Error> {
    match create(ledger, key, value).await? {
        Some(stored) => Ok(Some(stored)),
        None => read(ledger, key).await,
    }
}

/// Replaces the object that was read, with the next counter. `None` means that the write was
/// refused: drop the plan and read again.
///
/// # Errors
/// If the store fails; the write may then have been applied.
pub async fn replace<T: Object>(
    ledger: &dyn Ledger,
    key: &Key<T>,
    old: &Stored<T>,
    mut value: T,
) -> Result<Option<Stored<T>>, Error> {
    value.set_counter(old.value.counter() + 1);
    put(ledger, key, value, Condition::Matches(old.etag.clone())).await
}

/// Removes an object, whatever its version.
///
/// # Errors
/// If the store fails; the object may then have been removed.
pub async fn delete<T>(ledger: &dyn Ledger, key: &Key<T>) -> Result<(), Error> {
    ledger.delete(key.as_str()).await
}

async fn put<T: Serialize>(
    ledger: &dyn Ledger,
    key: &Key<T>,
    value: T,
    condition: Condition,
) -> Result<Option<Stored<T>>, Error> {
    let body = serde_json::to_vec(&value).map_err(|source| Error::Malformed {
        key: key.to_string(),
        source,
    })?;
    let mut wait = FIRST_WAIT;
    for _ in 0..TRIES {
        let put = ledger.put_if(key.as_str(), body.clone(), condition.clone());
        match put.await? {
            Put::Written(etag) => return Ok(Some(Stored { value, etag })),
            Put::Refused => return Ok(None),
            Put::Conflict => {}
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    Err(Error::Conflict {
        key: key.to_string(),
    })
}
