//! A memory of pools that had no capacity, so that they are not asked again at once.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Pool, PoolError};

/// How long a pool without capacity is left alone.
pub const DRY_FOR: SignedDuration = SignedDuration::from_mins(3);
/// How long a pool is left alone that failed for another reason, such as throttling.
const FAILED_FOR: SignedDuration = SignedDuration::from_secs(30);

/// What is known about pools. A plain value: who keeps it decides where it lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pools {
    dry: Vec<Dry>,
}

/// A pool that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Dry {
    pool: Pool,
    since: Timestamp,
    until: Timestamp,
    code: String,
}

impl Pools {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers a launch error: for three minutes if the pool has no capacity, for half a
    /// minute if it failed otherwise. What is too old to matter is forgotten.
    pub fn note(&mut self, error: &PoolError, now: Timestamp) {
        self.dry
            .retain(|dry| dry.lasts(now) && dry.pool != error.pool);
        let lasting = if error.is_capacity() {
            DRY_FOR
        } else {
            FAILED_FOR
        };
        self.dry.push(Dry {
            pool: error.pool.clone(),
            since: now,
            until: now.saturating_add(lasting).unwrap_or(Timestamp::MAX),
            code: error.code.clone(),
        });
    }

    /// Remembers that a pool had capacity after all.
    pub fn note_launched(&mut self, pool: &Pool) {
        self.dry.retain(|dry| dry.pool != *pool);
    }

    /// Whether `pool` failed so recently that it should be left alone.
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
        self.since <= now && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lifecycle;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn pool(zone: &str) -> Pool {
        Pool {
            instance_type: "m6i.large".to_owned(),
            zone: zone.to_owned(),
            lifecycle: Lifecycle::Spot,
        }
    }

    fn error(zone: &str, code: &str) -> PoolError {
        PoolError {
            pool: pool(zone),
            code: code.to_owned(),
            message: "There is no Spot capacity available.".to_owned(),
        }
    }

    fn after(seconds: i64) -> Timestamp {
        START + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_dry_pool_is_left_alone_for_three_minutes() {
        let mut pools = Pools::new();
        pools.note(&error("a", "InsufficientInstanceCapacity"), START);
        assert!(pools.is_dry(&pool("a"), after(0)));
        assert!(pools.is_dry(&pool("a"), after(179)));
        assert!(!pools.is_dry(&pool("a"), after(180)));
        assert!(!pools.is_dry(&pool("b"), after(0)));
    }

    #[test]
    fn any_other_failure_keeps_it_away_for_a_moment() {
        let mut pools = Pools::new();
        pools.note(&error("a", "RequestLimitExceeded"), START);
        assert!(pools.is_dry(&pool("a"), after(29)));
        assert!(!pools.is_dry(&pool("a"), after(30)));
    }

    #[test]
    fn a_launch_or_a_clock_set_back_ends_the_memory() {
        let mut pools = Pools::new();
        pools.note(&error("a", "UnfulfillableCapacity"), START);
        assert!(!pools.is_dry(&pool("a"), after(-1)));
        pools.note_launched(&pool("a"));
        assert!(!pools.is_dry(&pool("a"), after(1)));
    }

    #[test]
    fn it_does_not_grow() {
        let mut pools = Pools::new();
        for second in 0..1000 {
            let zone = ["a", "b", "c"][usize::try_from(second % 3).unwrap()];
            pools.note(&error(zone, "InsufficientInstanceCapacity"), after(second));
        }
        assert_eq!(pools.dry(after(1000)).len(), 3);
        pools.note(&error("d", "InsufficientInstanceCapacity"), after(5000));
        assert_eq!(pools.dry.len(), 1);
    }
}
