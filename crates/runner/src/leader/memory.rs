//! What a leader remembers between rounds. All of it may be lost: a new leader starts without.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use onspot_ledger::{BootId, JobKey, Watched, WorkerId};

use super::snapshot::Snapshot;

/// Between a payload's first sight without a record and its removal: a manager that has just
/// received the job may be about to write the record.
const ORPHAN_AGE: Duration = Duration::from_mins(10);

/// The leader's own sight of things.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    silence: HashMap<WorkerId, Watched<Option<(BootId, u64)>>>,
    silent_for: BTreeMap<WorkerId, Duration>,
    idle_since: HashMap<WorkerId, Timestamp>,
    orphans: HashMap<JobKey, Duration>,
}

impl Memory {
    /// Takes in what was read, at `steady` on the leader's own clock (rule 10).
    pub(crate) fn see(&mut self, snapshot: &Snapshot, steady: Duration, now: Timestamp) {
        let workers = || snapshot.orders.keys().chain(snapshot.states.keys());
        self.silence
            .retain(|worker, _| workers().any(|known| known == worker));
        self.silent_for.clear();
        for worker in workers() {
            let state = snapshot.states.get(worker);
            let mark = state.map(|s| (s.value.boot.clone(), s.value.counter));
            let watched = self.silence.entry(worker.clone()).or_default();
            self.silent_for
                .insert(worker.clone(), watched.silent_for(mark, steady));
        }
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
