//! A memory of pools that had no capacity, so that they are not asked again at once.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Pool, PoolError};

/// How long a pool without capacity is left alone.
pub const DRY_FOR: SignedDuration = SignedDuration::from_mins(3);

/// What is known about pools. A plain value: who keeps it decides where it lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pools {
    dry: Vec<Dry>,
}

/// A pool that had no capacity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Dry {
    pool: Pool,
    since: Timestamp,
    code: String,
}

impl Pools {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers a launch error. Errors that say nothing about the pool's capacity are
    /// not kept. What is too old to matter is forgotten.
    pub fn note(&mut self, error: &PoolError, now: Timestamp) {
        self.dry
            .retain(|dry| dry.lasts(now) && dry.pool != error.pool);
        if error.is_capacity() {
            let (pool, code) = (error.pool.clone(), error.code.clone());
            self.dry.push(Dry {
                pool,
                since: now,
                code,
            });
        }
    }

    /// Remembers that a pool had capacity after all.
    pub fn note_launched(&mut self, pool: &Pool) {
        self.dry.retain(|dry| dry.pool != *pool);
    }

    /// Whether `pool` had no capacity in the last three minutes.
    pub fn is_dry(&self, pool: &Pool, now: Timestamp) -> bool {
        self.dry
            .iter()
            .any(|dry| dry.pool == *pool && dry.lasts(now))
    }

    /// The pools to leave alone now, with EC2's error code.
    pub fn dry(&self, now: Timestamp) -> BTreeMap<&Pool, &str> {
        let lasting = self.dry.iter().filter(|dry| dry.lasts(now));
        lasting.map(|dry| (&dry.pool, dry.code.as_str())).collect()
    }
}

impl Dry {
    /// Whether the memory still counts. A clock that was set back does not extend it.
    fn lasts(&self, now: Timestamp) -> bool {
        self.since.duration_until(now).abs() < DRY_FOR
    }
}
