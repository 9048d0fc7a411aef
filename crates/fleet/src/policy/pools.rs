//! Remembers what EC2 refused, so that the next launch does not ask for it again at once.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Lifecycle, Pool, PoolError, Refusal};

/// How long launches avoid a pool without capacity.
pub const DRY_FOR: SignedDuration = SignedDuration::from_mins(3);
/// How long launches avoid a pool whose zone does not offer the type.
const NOT_OFFERED_FOR: SignedDuration = SignedDuration::from_hours(1);
/// How long after its end a refusal is forgotten, including how often it was repeated.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// What is known about pools and about launches as a whole. A plain value, which the caller stores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pools {
    refused: Vec<Refused>,
}

/// Something that EC2 refused to launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What it was.
    pub what: Extent,
    /// The class of the refusal.
    pub refusal: Refusal,
    /// EC2's error code, for example `InsufficientInstanceCapacity`.
    pub code: String,
    /// EC2's message.
    pub message: String,
    /// Until when launches avoid it.
    pub until: Timestamp,
    since: Timestamp,
    /// How often in a row.
    times: u32,
}

/// How far a refusal goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// One pool.
    Pool(Pool),
    /// All launches that are paid for like this.
    All(Lifecycle),
}

impl Extent {
    fn lifecycle(&self) -> Lifecycle {
        match self {
            Self::Pool(pool) => pool.lifecycle,
            Self::All(lifecycle) => *lifecycle,
        }
    }
}

impl Pools {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers that a pool gave nothing, and forgets refusals that are too old to matter.
    pub fn note(&mut self, error: &PoolError, now: Timestamp) {
        let what = if error.pool.is_known() {
            Extent::Pool(error.pool.clone())
        } else {
            Extent::All(error.pool.lifecycle)
        };
        let refusal = error.refusal();
        self.remember(what, refusal, &error.code, &error.message, now);
    }

    /// Remembers that a call to launch instances of this lifecycle failed. An error in the
    /// configuration counts for all lifecycles.
    pub fn note_call(
        &mut self,
        lifecycle: Lifecycle,
        refusal: Refusal,
        code: &str,
        message: &str,
        now: Timestamp,
    ) {
        let all = [Lifecycle::Spot, Lifecycle::OnDemand];
        let wrong = refusal == Refusal::Configuration;
        for each in all.into_iter().filter(|each| wrong || *each == lifecycle) {
            self.remember(Extent::All(each), refusal, code, message, now);
        }
    }

    fn remember(
        &mut self,
        what: Extent,
        refusal: Refusal,
        code: &str,
        message: &str,
        now: Timestamp,
    ) {
        let before = self
            .refused
            .iter()
            .find(|old| old.what == what && old.refusal == refusal && old.since <= now);
        let times = before.map_or(0, |old| old.times).saturating_add(1);
        self.refused.retain(|old| {
            let forgotten = old.until.saturating_add(FORGET_AFTER);
            old.since <= now && old.what != what && forgotten.is_ok_and(|at| now < at)
        });
        self.refused.push(Refused {
            what,
            refusal,
            code: code.to_owned(),
            message: message.to_owned(),
            since: now,
            until: now
                .saturating_add(pause(refusal, times))
                .unwrap_or(Timestamp::MAX),
            times,
        });
    }

    /// Remembers that a pool had capacity after all.
    pub fn note_launched(&mut self, pool: &Pool) {
        let all = Extent::All(pool.lifecycle);
        self.refused
            .retain(|old| old.what != all && !matches!(&old.what, Extent::Pool(of) if of == pool));
    }

    /// Forgets errors of the configuration, because it has changed.
    pub fn note_new_configuration(&mut self) {
        let stays = |old: &Refused| {
            !matches!(
                old.refusal,
                Refusal::Configuration | Refusal::NotOffered | Refusal::Price
            )
        };
        self.refused.retain(stays);
    }

    /// Whether launches should avoid `pool` now, because of its own refusal or one of its whole
    /// lifecycle.
    pub fn is_out(&self, pool: &Pool, now: Timestamp) -> bool {
        self.why_out(pool, now).is_some()
    }

    /// Why launches avoid `pool`, if they do.
    pub fn why_out(&self, pool: &Pool, now: Timestamp) -> Option<&Refused> {
        self.now(now).find(|refused| match &refused.what {
            Extent::Pool(of) => of == pool,
            Extent::All(lifecycle) => *lifecycle == pool.lifecycle,
        })
    }

    /// Why nothing of this lifecycle is launched, whatever the pool.
    pub fn halted(&self, lifecycle: Lifecycle, now: Timestamp) -> Option<&Refused> {
        self.now(now)
            .find(|refused| refused.what == Extent::All(lifecycle))
    }

    /// The pools to avoid now.
    pub fn out(&self, now: Timestamp) -> impl Iterator<Item = &Pool> {
        self.now(now).filter_map(|refused| match &refused.what {
            Extent::Pool(pool) => Some(pool),
            Extent::All(_) => None,
        })
    }

    /// Whether something is wrong with the configuration of launches.
    pub fn is_misconfigured(&self, now: Timestamp) -> bool {
        self.now(now)
            .any(|refused| refused.refusal == Refusal::Configuration)
    }

    /// All current refusals of instances of this lifecycle.
    pub fn refused(&self, lifecycle: Lifecycle, now: Timestamp) -> impl Iterator<Item = &Refused> {
        self.now(now)
            .filter(move |refused| refused.what.lifecycle() == lifecycle)
    }

    fn now(&self, now: Timestamp) -> impl Iterator<Item = &Refused> {
        self.refused.iter().filter(move |old| old.lasts(now))
    }
}

impl Refused {
    /// Whether the refusal still counts. A clock that was set back does not extend it.
    fn lasts(&self, now: Timestamp) -> bool {
        self.since <= now && now < self.until
    }
}

/// How long launches avoid something that was refused `times` times in a row.
fn pause(refusal: Refusal, times: u32) -> SignedDuration {
    let doubling = |first: SignedDuration, longest: SignedDuration| {
        let factor = 2_i32.saturating_pow(times.saturating_sub(1).min(16));
        first
            .checked_mul(factor)
            .map_or(longest, |pause| pause.min(longest))
    };
    match refusal {
        // Spot prices change as slowly as capacity does.
        Refusal::Capacity | Refusal::Price => DRY_FOR,
        Refusal::NotOffered => NOT_OFFERED_FOR,
        Refusal::Limit => doubling(SignedDuration::from_mins(1), SignedDuration::from_mins(15)),
        Refusal::Throttled | Refusal::Fault => {
            doubling(SignedDuration::from_secs(15), SignedDuration::from_mins(5))
        }
        // Somebody has to change something, and onspot may not notice when they have.
        Refusal::Configuration => {
            doubling(SignedDuration::from_mins(10), SignedDuration::from_hours(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(pools.is_out(&pool("a"), after(0)));
        assert!(pools.is_out(&pool("a"), after(179)));
        assert!(!pools.is_out(&pool("a"), after(180)));
        assert!(!pools.is_out(&pool("b"), after(0)));
    }

    #[test]
    fn a_limit_that_stays_is_asked_for_ever_more_rarely() {
        let mut pools = Pools::new();
        let mut now = START;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pools.note(&error("a", "MaxSpotInstanceCountExceeded"), now);
            let until = pools.why_out(&pool("a"), now).map(|refused| refused.until);
            let until = until.expect("it is left alone");
            pauses.push(now.duration_until(until).as_secs());
            now = until;
        }
        assert_eq!(pauses, [60, 120, 240, 480, 900, 900]);
        pools.note_launched(&pool("a"));
        pools.note(&error("a", "MaxSpotInstanceCountExceeded"), now);
        assert!(!pools.is_out(&pool("a"), now + SignedDuration::from_secs(60)));
    }

    #[test]
    fn a_type_that_a_zone_lacks_takes_only_that_pool_out_and_for_long() {
        let mut pools = Pools::new();
        pools.note(&error("a", "Unsupported"), START);
        assert!(pools.is_out(&pool("a"), after(3599)));
        assert!(!pools.is_out(&pool("b"), after(1)));
        assert_eq!(pools.halted(Lifecycle::Spot, after(1)), None);
    }

    #[test]
    fn a_wrong_configuration_stops_spot_and_on_demand_and_a_new_one_starts_them_again() {
        let mut pools = Pools::new();
        let (code, message) = ("InvalidAMIID.NotFound", "no such image");
        pools.note_call(
            Lifecycle::Spot,
            Refusal::Configuration,
            code,
            message,
            START,
        );
        for lifecycle in [Lifecycle::Spot, Lifecycle::OnDemand] {
            let halted = pools.halted(lifecycle, after(599)).expect("it is halted");
            assert_eq!(halted.refusal, Refusal::Configuration);
        }
        assert!(pools.is_out(&pool("a"), after(1)));
        pools.note_new_configuration();
        assert_eq!(pools.halted(Lifecycle::Spot, after(1)), None);
    }

    #[test]
    fn a_throttled_call_keeps_its_own_lifecycle_waiting_for_a_moment() {
        let mut pools = Pools::new();
        let (code, message) = ("RequestLimitExceeded", "slow down");
        pools.note_call(Lifecycle::Spot, Refusal::Throttled, code, message, START);
        assert!(pools.halted(Lifecycle::Spot, after(14)).is_some());
        assert!(pools.halted(Lifecycle::Spot, after(15)).is_none());
        assert!(pools.halted(Lifecycle::OnDemand, after(1)).is_none());
    }

    #[test]
    fn a_launch_or_a_clock_set_back_ends_the_memory() {
        let mut pools = Pools::new();
        pools.note(&error("a", "UnfulfillableCapacity"), START);
        assert!(!pools.is_out(&pool("a"), after(-1)));
        pools.note_launched(&pool("a"));
        assert!(!pools.is_out(&pool("a"), after(1)));
    }

    #[test]
    fn it_does_not_grow() {
        let mut pools = Pools::new();
        for second in 0..1000 {
            let zone = ["a", "b", "c"][usize::try_from(second % 3).unwrap()];
            pools.note(&error(zone, "InsufficientInstanceCapacity"), after(second));
        }
        assert_eq!(pools.out(after(1000)).count(), 3);
        pools.note(&error("d", "InsufficientInstanceCapacity"), after(9000));
        assert_eq!(pools.refused.len(), 1);
    }
}
