//! What a leader remembers between rounds. All of it may be lost: a new leader starts without.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use onspot_ledger::{Ask, BootId, ETag, JobKey, Watched, WorkerId};

use super::snapshot::Snapshot;

/// Between a payload's first sight without a record and its removal: a manager that has just
/// received the job may be about to write the record.
const ORPHAN_AGE: Duration = Duration::from_mins(10);

/// How long what is kept of a job that is over is kept.
const PAST_AGE: Duration = Duration::from_hours(24);
/// Between two looks for what is older.
const PAST_LOOKS: Duration = Duration::from_hours(1);

/// What changes when a worker is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark {
    /// Who wrote its state, and how often.
    Read(BootId, u64),
    /// The version of a state that can't be read.
    Unreadable(ETag),
}

/// The leader's own sight of things.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    silence: HashMap<WorkerId, Watched<Option<Mark>>>,
    silent_for: BTreeMap<WorkerId, Duration>,
    /// When each revocation was seen first: worker, job, attempt.
    revoked: HashMap<(WorkerId, u64, u32), Duration>,
    /// When each object of a job that is over was seen first.
    past: HashMap<String, Duration>,
    past_looked_at: Option<Duration>,
    idle_since: HashMap<WorkerId, Timestamp>,
    orphans: HashMap<JobKey, Duration>,
}

impl Memory {
    /// Takes in what was read, at `steady` on the leader's own clock (rule 10).
    pub(crate) fn see(&mut self, snapshot: &Snapshot, steady: Duration, now: Timestamp) {
        // One that has neither order nor state, and only a job, is as silent as can be.
        let workers = snapshot.workers();
        self.silence.retain(|worker, _| workers.contains(worker));
        self.silent_for.clear();
        for worker in workers {
            let unreadable = snapshot.unreadable.get(&worker);
            let mark = match snapshot.states.get(&worker) {
                Some(state) => Some(Mark::Read(state.value.boot.clone(), state.value.counter)),
                None => unreadable.map(|etag| Mark::Unreadable(etag.clone())),
            };
            let watched = self.silence.entry(worker.clone()).or_default();
            self.silent_for
                .insert(worker, watched.silent_for(mark, steady));
        }
        self.see_revocations(snapshot, steady);
        let busy = |worker: &WorkerId| {
            snapshot
                .records
                .values()
                .any(|record| record.value.worker() == Some(worker))
                || snapshot.states[worker]
                    .value
                    .jobs
                    .values()
                    .any(|job| !job.phase.is_over())
        };
        self.idle_since
            .retain(|worker, _| snapshot.states.contains_key(worker));
        for worker in snapshot.states.keys() {
            if busy(worker) {
                self.idle_since.remove(worker);
            } else {
                self.idle_since.entry(worker.clone()).or_insert(now);
            }
        }
        let orphaned =
            |job: &JobKey| snapshot.payloads.contains(job) && !snapshot.records.contains_key(job);
        self.orphans.retain(|job, _| orphaned(job));
        for job in snapshot.payloads.iter().filter(|job| orphaned(job)) {
            self.orphans.entry(job.clone()).or_insert(steady);
        }
    }

    fn see_revocations(&mut self, snapshot: &Snapshot, steady: Duration) {
        let revoked: HashSet<(WorkerId, u64, u32)> = snapshot
            .orders
            .iter()
            .flat_map(|(worker, order)| {
                let entries = order.value.entries.iter();
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

    /// Whether it is time to look at what is kept of jobs that are over.
    pub(crate) fn is_time_for_the_past(&self, steady: Duration) -> bool {
        self.past_looked_at
            .is_none_or(|last| steady.saturating_sub(last) >= PAST_LOOKS)
    }

    /// Takes in what is kept of jobs that are over; the keys that were kept for long enough.
    pub(crate) fn see_the_past(&mut self, keys: &HashSet<String>, steady: Duration) -> Vec<String> {
        self.past_looked_at = Some(steady);
        self.past.retain(|known, _| keys.contains(known));
        for key in keys {
            self.past.entry(key.clone()).or_insert(steady);
        }
        let old = self.past.iter();
        old.filter(|(_, seen)| steady.saturating_sub(**seen) >= PAST_AGE)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// For how long a worker's state has been the same.
    pub(crate) fn silent_for(&self, worker: &WorkerId) -> Duration {
        self.silent_for.get(worker).copied().unwrap_or_default()
    }

    /// Since when a worker has no job.
    pub(crate) fn idle_since(&self, worker: &WorkerId) -> Option<Timestamp> {
        self.idle_since.get(worker).copied()
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
}
