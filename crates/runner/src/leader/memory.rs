//! What a leader remembers between rounds. Losing it is safe: a new leader starts without it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use onspot_ledger::{Ask, ETag, JobKey, Watched, WorkerId};

use super::picture::{Aside, Picture};

/// How long a payload without a record is kept, because a manager that has just received the job
/// may be about to write the record.
const ORPHAN_AGE: Duration = Duration::from_mins(10);

/// How long the remaining objects of a finished job are kept.
const PAST_AGE: Duration = Duration::from_hours(24);
/// The most of them that are removed in one round.
const PAST_AT_ONCE: usize = 100;
/// The pause between two looks for older ones.
const PAST_LOOKS: Duration = Duration::from_hours(1);

/// What the leader has seen, and since when.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The version of each worker's state as it was read. A living worker changes it with every
    /// write.
    silence: HashMap<WorkerId, Watched<Option<ETag>>>,
    /// When the ledger was last read.
    seen_at: Option<Duration>,
    /// When each revocation was seen first: worker, job, attempt.
    revoked: HashMap<(WorkerId, u64, u32), Duration>,
    /// When each object of a finished job was seen first.
    past: HashMap<String, Duration>,
    past_looked_at: Option<Duration>,
    idle_since: HashMap<WorkerId, Timestamp>,
    orphans: HashMap<JobKey, Duration>,
    /// Since when each object is set aside, and why.
    aside: BTreeMap<String, (Duration, String)>,
    /// Since when each payload of an attempt is not needed any more.
    leftovers: HashMap<String, Duration>,
    leftovers_looked_at: Option<Duration>,
}

impl Memory {
    /// Records what was read at `steady` on the leader's own clock (rule 10), and sets for each
    /// worker how long it has been silent and since when it is idle. A leader that could read
    /// nothing for `blind` times every silence anew, because workers may not have reached S3
    /// either.
    pub(crate) fn see(&mut self, picture: &mut Picture, steady: Duration, blind: Duration) {
        let mut silence = std::mem::take(&mut self.silence);
        let last = self.seen_at.replace(steady);
        if last.is_some_and(|last| steady.saturating_sub(last) >= blind) {
            silence.clear();
        }
        let mut idle_since = std::mem::take(&mut self.idle_since);
        let now = picture.now;
        for (id, worker) in picture.workers_mut() {
            // A worker without an order and a state, which only a job's record names, has the
            // longest possible silence.
            if worker.is_named() {
                let mut watched = silence.remove(id).unwrap_or_default();
                worker.silent_for = watched.silent_for(worker.state.etag().cloned(), steady);
                self.silence.insert(id.clone(), watched);
            }
            let busy = worker.assigned() > 0 || worker.unfinished() > 0;
            if worker.state.stored().is_some() && !busy {
                let since = idle_since.remove(id).unwrap_or(now);
                worker.idle_since = Some(since);
                self.idle_since.insert(id.clone(), since);
            }
        }
        self.see_revocations(picture, steady);
        let has_record =
            |job: &JobKey| picture.records().contains_key(job) || picture.aside.jobs.contains(job);
        let orphaned = |job: &JobKey| picture.payloads.contains(job) && !has_record(job);
        self.orphans.retain(|job, _| orphaned(job));
        for job in picture.payloads.iter().filter(|job| orphaned(job)) {
            self.orphans.entry(job.clone()).or_insert(steady);
        }
    }

    /// Records what a round has set aside. Returns whether anything is new, and logs that.
    pub(crate) fn see_aside(&mut self, aside: &Aside, steady: Duration) -> bool {
        let before = self.aside.len();
        self.aside.retain(|key, _| aside.why.contains_key(key));
        let mut changed = before != self.aside.len();
        for (key, why) in &aside.why {
            let known = self.aside.entry(key.clone());
            let (_, said) = known.or_insert_with(|| (steady, String::new()));
            if said != why {
                tracing::error!(object = key, why, "set aside; the others go on");
                why.clone_into(said);
                changed = true;
            }
        }
        changed
    }

    /// For how long an object has been set aside.
    pub(crate) fn aside_for(&self, key: &str, steady: Duration) -> Duration {
        let since = self.aside.get(key).map(|(since, _)| *since);
        since.map_or(Duration::ZERO, |since| steady.saturating_sub(since))
    }

    /// What is set aside, and why.
    pub(crate) fn aside(&self) -> BTreeMap<String, String> {
        let aside = self.aside.iter();
        aside
            .map(|(key, (_, why))| (key.clone(), why.clone()))
            .collect()
    }

    /// Whether it is time to look for payloads of attempts that are not needed any more.
    pub(crate) fn is_time_for_leftovers(&self, steady: Duration) -> bool {
        self.leftovers_looked_at
            .is_none_or(|last| steady.saturating_sub(last) >= ORPHAN_AGE)
    }

    /// Records which payloads are not needed; returns those that have not been needed for long
    /// enough. A new payload is written before anything names it, so it must not be removed at
    /// once.
    pub(crate) fn see_leftovers(
        &mut self,
        keys: &HashSet<String>,
        steady: Duration,
    ) -> Vec<String> {
        self.leftovers_looked_at = Some(steady);
        self.leftovers.retain(|known, _| keys.contains(known));
        for key in keys {
            self.leftovers.entry(key.clone()).or_insert(steady);
        }
        let old = self.leftovers.iter();
        old.filter(|(_, seen)| steady.saturating_sub(**seen) >= ORPHAN_AGE)
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn see_revocations(&mut self, picture: &Picture, steady: Duration) {
        let revoked: HashSet<(WorkerId, u64, u32)> = picture
            .workers()
            .filter_map(|(worker, known)| Some((worker, known.order.value()?)))
            .flat_map(|(worker, order)| {
                let entries = order.entries.iter();
                let revoked = entries.filter(|(_, entry)| entry.ask == Ask::Revoked);
                revoked.map(|(job, entry)| (worker.clone(), *job, entry.attempt))
            })
            .collect();
        self.revoked.retain(|known, _| revoked.contains(known));
        for revocation in revoked {
            self.revoked.entry(revocation).or_insert(steady);
        }
    }

    /// For how long an attempt has been revoked.
    pub(crate) fn revoked_for(
        &self,
        worker: &WorkerId,
        job: u64,
        attempt: u32,
        steady: Duration,
    ) -> Duration {
        let since = self.revoked.get(&(worker.clone(), job, attempt));
        since.map_or(Duration::ZERO, |since| steady.saturating_sub(*since))
    }

    /// Whether it is time to look at the objects of finished jobs.
    pub(crate) fn is_time_for_the_past(&self, steady: Duration) -> bool {
        self.past_looked_at
            .is_none_or(|last| steady.saturating_sub(last) >= PAST_LOOKS)
    }

    /// Records the objects of finished jobs; returns those that were kept for long enough.
    pub(crate) fn see_the_past(&mut self, keys: &HashSet<String>, steady: Duration) -> Vec<String> {
        self.past_looked_at = Some(steady);
        self.past.retain(|known, _| keys.contains(known));
        for key in keys {
            self.past.entry(key.clone()).or_insert(steady);
        }
        let old = self.past.iter();
        let old = old.filter(|(_, seen)| steady.saturating_sub(**seen) >= PAST_AGE);
        let mut keys: Vec<String> = old.map(|(key, _)| key.clone()).collect();
        if keys.len() > PAST_AT_ONCE {
            // A round has more urgent work; the next rounds continue.
            keys.truncate(PAST_AT_ONCE);
            self.past_looked_at = None;
        }
        keys
    }

    /// The payloads whose record never came.
    pub(crate) fn orphans(&self, steady: Duration) -> Vec<JobKey> {
        let old = self
            .orphans
            .iter()
            .filter(|(_, seen)| steady.saturating_sub(**seen) > ORPHAN_AGE);
        old.map(|(job, _)| job.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use onspot_ledger::{Order, RunnerName, Stored};

    use super::*;

    #[test]
    fn what_is_kept_of_a_job_is_kept_for_a_day() {
        let (mut memory, hour) = (Memory::default(), Duration::from_hours(1));
        let keys: HashSet<String> = ["done/r/1".to_owned()].into();
        assert!(memory.is_time_for_the_past(Duration::ZERO));
        assert!(memory.see_the_past(&keys, Duration::ZERO).is_empty());
        assert!(!memory.is_time_for_the_past(hour / 2));
        assert!(memory.is_time_for_the_past(hour));
        assert!(memory.see_the_past(&keys, hour * 23).is_empty());
        assert_eq!(memory.see_the_past(&keys, hour * 24), ["done/r/1"]);
        memory.see_the_past(&HashSet::new(), hour * 25);
        assert!(memory.see_the_past(&keys, hour * 26).is_empty());
    }

    #[test]
    fn silence_is_timed_anew_after_a_time_in_which_nothing_could_be_read() {
        let (mut memory, id) = (Memory::default(), WorkerId::of("AROA", "i-1"));
        let mut picture = Picture::default();
        let (value, etag) = (Order::empty(&RunnerName::new("r")), ETag::new("1"));
        picture.put_order(&id, Stored { value, etag });
        let mut silent_at = |seconds| {
            let (at, blind) = (Duration::from_secs(seconds), Duration::from_secs(90));
            memory.see(&mut picture, at, blind);
            picture.worker(&id).unwrap().silent_for.as_secs()
        };
        assert_eq!((silent_at(0), silent_at(80), silent_at(160)), (0, 80, 160));
        // As after an outage of S3 for everybody: the worker could not write either.
        assert_eq!((silent_at(300), silent_at(302)), (0, 2));
    }
}
