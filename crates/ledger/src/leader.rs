//! `run/leader`: which manager leads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{ManagerId, RunnerName};
use crate::object::Object;

/// The leader's object: a sign of life, and the status of the runners in GitLab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Grows with every write.
    pub counter: u64,
    /// Grows with every change of the leader.
    pub term: u64,
    /// The leader; `None` after it has stepped down.
    pub holder: Option<ManagerId>,
    /// When the holder became leader.
    pub since: Timestamp,
    /// The version of the holder's program.
    pub version: String,
    /// Where workers reach the cache of images on the holder's instance; `None` if there is none, and
    /// in objects of versions without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<SocketAddr>,
    /// The status of each `[[runners]]` in GitLab.
    #[serde(default)]
    pub runners: BTreeMap<RunnerName, Greeting>,
    /// What keeps each `[[runners]]` from launching workers, for people; only those that can't are
    /// listed.
    #[serde(default)]
    pub launches: BTreeMap<RunnerName, String>,
    /// The objects that the leader can't read or write and leaves alone, and why.
    #[serde(default)]
    pub aside: BTreeMap<String, String>,
}

/// The status of a `[[runners]]` in its GitLab.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// When GitLab last accepted this runner's token.
    pub verified_at: Option<Timestamp>,
    /// Why GitLab does not accept it now, for people.
    pub error: Option<String>,
}

impl Leader {
    /// The first leader's object.
    pub fn first(holder: &ManagerId, version: &str, now: Timestamp) -> Self {
        Self {
            counter: 0,
            term: 1,
            holder: Some(holder.clone()),
            since: now,
            version: version.to_owned(),
            registry: None,
            runners: BTreeMap::new(),
            launches: BTreeMap::new(),
            aside: BTreeMap::new(),
        }
    }

    /// The object with which `holder` takes over the lead. The runners' status in GitLab stays
    /// until the new leader has checked it.
    pub fn taken_over(&self, holder: &ManagerId, version: &str, now: Timestamp) -> Self {
        Self {
            counter: self.counter,
            term: self.term + 1,
            holder: Some(holder.clone()),
            since: now,
            version: version.to_owned(),
            registry: None,
            runners: self.runners.clone(),
            launches: BTreeMap::new(),
            aside: BTreeMap::new(),
        }
    }

    /// The object with which the leader steps down.
    pub fn released(&self) -> Self {
        Self {
            holder: None,
            ..self.clone()
        }
    }

    /// Whether `manager` is the leader.
    pub fn is_led_by(&self, manager: &ManagerId) -> bool {
        self.holder.as_ref() == Some(manager)
    }

    /// Whether this object was written by the write `sent`, whose answer may have been lost.
    pub fn is_write_of(&self, sent: &Self) -> bool {
        self.holder == sent.holder && self.term == sent.term && self.counter == sent.counter
    }
}

impl Object for Leader {
    fn counter(&self) -> u64 {
        self.counter
    }

    fn set_counter(&mut self, counter: u64) {
        self.counter = counter;
    }
}

/// Measures for how long a value has been unchanged, on the watcher's own clock.
///
/// Any monotonic clock will do; no other machine's time is used (rule 10).
#[derive(Debug, Clone)]
pub struct Watched<T> {
    seen: Option<(T, Duration)>,
}

impl<T: PartialEq> Watched<T> {
    /// No value was seen yet.
    pub fn new() -> Self {
        Self { seen: None }
    }

    /// Records the value seen at `now`, and returns for how long it has been unchanged.
    pub fn silent_for(&mut self, value: T, now: Duration) -> Duration {
        match &self.seen {
            Some((seen, since)) if *seen == value => now.saturating_sub(*since),
            _ => {
                self.seen = Some((value, now));
                Duration::ZERO
            }
        }
    }
}

impl<T: PartialEq> Default for Watched<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_measured_from_the_first_sight_of_a_value() {
        let mut watched = Watched::new();
        let at = Duration::from_secs;
        assert_eq!(watched.silent_for(1, at(100)), at(0));
        assert_eq!(watched.silent_for(1, at(115)), at(15));
        assert_eq!(watched.silent_for(2, at(116)), at(0));
        assert_eq!(watched.silent_for(2, at(120)), at(4));
    }

    #[test]
    fn a_takeover_is_a_new_term_and_a_lost_answer_is_recognised() {
        let (a, b) = (ManagerId::new("a"), ManagerId::new("b"));
        let first = Leader::first(&a, "1", Timestamp::UNIX_EPOCH);
        let mut second = first.taken_over(&b, "1", Timestamp::UNIX_EPOCH);
        second.set_counter(first.counter() + 1);
        assert!(second.is_led_by(&b) && !second.is_led_by(&a));
        assert_eq!(second.term, 2);
        assert!(second.is_write_of(&second.clone()));
        assert!(!second.is_write_of(&first));
        assert_eq!(second.released().holder, None);
    }

    #[test]
    fn the_image_caches_address_is_the_holders_and_optional() {
        let first = Leader::first(&ManagerId::new("a"), "1", Timestamp::UNIX_EPOCH);
        // As written by a version without the cache.
        let old = serde_json::to_value(&first).unwrap();
        assert!(old.get("registry").is_none(), "{old}");
        assert_eq!(serde_json::from_value::<Leader>(old).unwrap(), first);

        let address = "10.0.0.7:15850".parse().unwrap();
        let with = Leader {
            registry: Some(address),
            ..first
        };
        let text = serde_json::to_string(&with).unwrap();
        assert!(text.contains(r#""registry":"10.0.0.7:15850""#), "{text}");
        assert_eq!(serde_json::from_str::<Leader>(&text).unwrap(), with);
        let next = with.taken_over(&ManagerId::new("b"), "1", Timestamp::UNIX_EPOCH);
        assert_eq!(next.registry, None, "the next holder has another address");
    }
}
