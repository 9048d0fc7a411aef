//! Remembers workers that were launched but never reported. A single one may be a bad machine.
//! Several in a row point to a broken image or boot script, so more launches would fail as well.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::InstanceId;

/// After this many in a row, launches stop for [`LONG_PAUSE`].
const ENOUGH: usize = 3;
/// The pause after each of the earlier ones.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// How long launches stop once there are [`ENOUGH`]; then a single worker is tried.
const LONG_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// The latest boots. A plain value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boots {
    /// The launch of the newest worker that has reported.
    good: Option<Timestamp>,
    /// Workers launched after that one that never reported, with their launch times.
    lost: BTreeMap<InstanceId, Timestamp>,
    /// When the last one was added, and until when nothing is launched.
    halt: Option<(Timestamp, Timestamp)>,
    /// The last one and the end of its console.
    last: Option<FailedBoot>,
}

/// A worker that never reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedBoot {
    /// Its instance.
    pub instance: InstanceId,
    /// The end of its console; empty if EC2 has none.
    pub console: Vec<String>,
}

/// Why nothing is launched because of the latest boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootHalt<'a> {
    /// How many never reported, in a row.
    pub lost: usize,
    /// The last one of them.
    pub last: Option<&'a FailedBoot>,
    /// When the next one is launched.
    pub until: Timestamp,
    /// Whether there were enough of them for the long pause.
    pub is_final: bool,
}

impl Boots {
    /// Remembers a worker that was launched at `launched_at` but never reported. Returns whether it
    /// counts: if a worker that was launched later has reported, this one was just a bad machine.
    pub fn note_lost(
        &mut self,
        instance: &InstanceId,
        launched_at: Timestamp,
        now: Timestamp,
    ) -> bool {
        let older = self.good.is_some_and(|good| launched_at <= good);
        if older || self.lost.contains_key(instance) {
            return false;
        }
        self.lost.insert(instance.clone(), launched_at);
        let pause = if self.lost.len() >= ENOUGH {
            LONG_PAUSE
        } else {
            PAUSE
        };
        let until = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        self.halt = Some((now, until));
        true
    }

    /// Remembers the end of such a worker's console.
    pub fn note_console(&mut self, instance: &InstanceId, console: Vec<String>) {
        if self.lost.contains_key(instance) {
            self.last = Some(FailedBoot {
                instance: instance.clone(),
                console,
            });
        }
    }

    /// Remembers a worker that has reported.
    pub fn note_reported(&mut self, launched_at: Timestamp) {
        if self.good.is_some_and(|good| launched_at <= good) {
            return;
        }
        self.good = Some(launched_at);
        self.lost.retain(|_, launched| *launched > launched_at);
        if self.lost.is_empty() {
            self.halt = None;
            self.last = None;
        }
    }

    /// Forgets everything, because workers are made from other content now.
    pub fn note_new_configuration(&mut self) {
        *self = Self::default();
    }

    /// Whether the last boots failed, so that only one worker at a time should be launched.
    pub fn are_doubtful(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Why nothing may be launched now, if so.
    pub fn halted(&self, now: Timestamp) -> Option<BootHalt<'_>> {
        let (since, until) = self.halt?;
        // A clock that was set back does not extend it.
        (since <= now && now < until).then_some(BootHalt {
            lost: self.lost.len(),
            last: self.last.as_ref(),
            until,
            is_final: self.lost.len() >= ENOUGH,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn id(number: usize) -> InstanceId {
        InstanceId::new(format!("i-{number}"))
    }

    #[test]
    fn after_three_workers_in_a_row_that_never_report_nothing_is_launched_for_long() {
        let mut boots = Boots::default();
        assert!(boots.note_lost(&id(1), at(0), at(10)));
        assert!(!boots.note_lost(&id(1), at(0), at(10)), "once is enough");
        assert!(boots.halted(at(10)).is_some_and(|halt| !halt.is_final));
        assert!(boots.halted(at(11)).is_none() && boots.are_doubtful());
        assert!(boots.note_lost(&id(2), at(11), at(21)));
        assert!(boots.note_lost(&id(3), at(22), at(32)));
        boots.note_console(&id(3), vec!["FAILED".to_owned()]);
        let halt = boots.halted(at(91)).expect("it has stopped");
        assert!(halt.is_final && halt.lost == 3);
        assert_eq!(halt.last.map(|last| last.console.len()), Some(1));
        assert!(boots.halted(at(92)).is_none(), "one more is tried");
        assert!(boots.note_lost(&id(4), at(92), at(102)));
        assert!(boots.halted(at(161)).is_some_and(|halt| halt.is_final));
    }

    #[test]
    fn a_worker_that_reports_ends_the_doubt() {
        let mut boots = Boots::default();
        boots.note_lost(&id(1), at(0), at(10));
        boots.note_reported(at(5));
        assert!(!boots.are_doubtful() && boots.halted(at(10)).is_none());
    }

    #[test]
    fn a_few_bad_machines_among_good_ones_stop_nothing() {
        let mut boots = Boots::default();
        boots.note_reported(at(0));
        for number in 0..5 {
            assert!(!boots.note_lost(&id(number), at(0), at(10)));
        }
        assert!(!boots.are_doubtful());
    }

    #[test]
    fn an_old_worker_proves_nothing_of_newer_ones() {
        let mut boots = Boots::default();
        boots.note_lost(&id(1), at(5), at(15));
        boots.note_reported(at(0));
        assert!(boots.are_doubtful());
        boots.note_new_configuration();
        assert!(!boots.are_doubtful());
    }
}
