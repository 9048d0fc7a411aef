//! Everything that the leader's decisions depend on: one picture of the stack, made once per round.
//!
//! It is indexed by worker and by runner, and the jobs by their worker, because a round looks at
//! each worker and job several times. A round also records here what it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use onspot_fleet::{Instance, InstanceState};
use onspot_ledger::{ETag, JobKey, Order, Record, RunnerName, State, Stored, WorkerId};

use super::fleet::FleetStatus;

mod read;
mod view;

pub(crate) use read::{Reader, work_of};

/// The stack as one round sees it.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    /// When it was made.
    pub now: Timestamp,
    /// The status of each runner's fleet, without the instances themselves.
    pub fleets: BTreeMap<RunnerName, FleetStatus>,
    workers: BTreeMap<WorkerId, Worker>,
    by_runner: BTreeMap<RunnerName, Vec<WorkerId>>,
    records: BTreeMap<JobKey, Stored<Record>>,
    /// The jobs that have a payload, with or without a record.
    pub payloads: BTreeSet<JobKey>,
    /// What could not be read.
    pub aside: Aside,
}

/// Everything that is known about a worker.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// Its runner: the one of its order or job, or the one among whose instances it is.
    pub runner: Option<RunnerName>,
    /// Its instance, as its runner's fleet knows it.
    pub instance: Option<Instance>,
    /// EC2 denies its instance in a look-up by id.
    unknown: bool,
    /// Its order.
    pub order: Reading<Order>,
    /// Its state.
    pub state: Reading<State>,
    /// A write about it was dropped in this round, so its order may differ from what the round has
    /// read.
    dropped: bool,
    /// The jobs whose records say that it has them.
    pub jobs: BTreeSet<JobKey>,
    /// The jobs that its order names and whose records exist but could not be read.
    unread_jobs: BTreeSet<JobKey>,
    /// For how long its state has been the same, by the leader's clock (rule 10).
    pub silent_for: Duration,
    /// Since when it has no job.
    pub idle_since: Option<Timestamp>,
}

/// An object as a round has read it.
#[derive(Debug, Default)]
pub(crate) enum Reading<T> {
    /// There is none.
    #[default]
    Absent,
    /// It was read.
    Read(Stored<T>),
    /// It is listed with this version, but could not be read now.
    Unread(ETag),
    /// It is malformed for this version of onspot. That must not stop the work on all the other
    /// objects.
    Malformed(ETag),
}

/// What a round sets aside because it could not be read or written. It is left alone until the next
/// round, and everything else continues.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Jobs whose record exists but could not be read, or differs from what the round has read.
    pub jobs: BTreeSet<JobKey>,
    /// Malformed records, with their versions.
    pub records: BTreeMap<JobKey, ETag>,
    /// Why, for people, by the object's key.
    pub why: BTreeMap<String, String>,
}

impl<T> Reading<T> {
    /// What was read, and the version to write against.
    pub(crate) fn stored(&self) -> Option<&Stored<T>> {
        match self {
            Self::Read(stored) => Some(stored),
            Self::Absent | Self::Unread(_) | Self::Malformed(_) => None,
        }
    }

    /// What was read.
    pub(crate) fn value(&self) -> Option<&T> {
        self.stored().map(|stored| &stored.value)
    }

    /// The listed version, whether or not it was read.
    pub(crate) fn etag(&self) -> Option<&ETag> {
        match self {
            Self::Absent => None,
            Self::Read(stored) => Some(&stored.etag),
            Self::Unread(etag) | Self::Malformed(etag) => Some(etag),
        }
    }

    /// Whether there is none.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether it was read but is malformed for this version.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }

    /// Whether it exists but could not be read now.
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Self::Unread(_))
    }
}

impl Worker {
    /// Whether the ledger names it.
    pub(crate) fn is_named(&self) -> bool {
        !self.order.is_absent() || !self.state.is_absent() || !self.jobs.is_empty()
    }

    /// Whether it has ever reported.
    pub(crate) fn has_reported(&self) -> bool {
        self.state.stored().is_some() || self.state.is_malformed()
    }

    /// Whether its order could not be read.
    pub(crate) fn has_unknown_order(&self) -> bool {
        self.dropped || self.order.is_unread() || self.order.is_malformed()
    }

    /// Whether its order or its state could not be read.
    pub(crate) fn is_aside(&self) -> bool {
        self.has_unknown_order() || self.state.is_unread()
    }

    /// The state of its instance in EC2.
    pub(crate) fn instance_state(&self) -> Option<InstanceState> {
        self.instance.as_ref().map(|instance| instance.state)
    }

    /// Whether EC2 says that its instance is terminated (rule 12). Absence from a list proves
    /// nothing, because lists lag behind and depend on tags.
    pub(crate) fn is_terminated(&self) -> bool {
        self.instance_state().is_some_and(InstanceState::is_gone)
    }

    /// Whether it will never report again: its instance is terminated, or EC2 denies it in a
    /// look-up by id *and* its state has not changed for `takeover`. Neither of the latter two
    /// alone is proof.
    pub(crate) fn is_gone(&self, takeover: Duration) -> bool {
        self.is_terminated() || self.unknown && self.silent_for >= takeover
    }

    /// How many jobs are assigned to it.
    pub(crate) fn assigned(&self) -> u32 {
        let all = self.jobs.len() + self.unread_jobs.len();
        u32::try_from(all).unwrap_or(u32::MAX)
    }

    /// How many unfinished jobs its state names.
    pub(crate) fn unfinished(&self) -> u32 {
        let jobs = self.state.value().map(|state| state.jobs.values());
        let unfinished = jobs
            .into_iter()
            .flatten()
            .filter(|job| !job.phase.is_over());
        u32::try_from(unfinished.count()).unwrap_or(u32::MAX)
    }
}

impl Picture {
    /// Each worker that the ledger names or that is among the instances.
    pub(crate) fn workers(&self) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        self.workers.iter()
    }

    /// The same, to fill in what the leader remembers about each.
    pub(crate) fn workers_mut(&mut self) -> impl Iterator<Item = (&WorkerId, &mut Worker)> {
        self.workers.iter_mut()
    }

    /// One worker.
    pub(crate) fn worker(&self, worker: &WorkerId) -> Option<&Worker> {
        self.workers.get(worker)
    }

    /// What a worker was asked for, and the version to write against.
    pub(crate) fn order(&self, worker: &WorkerId) -> Option<&Stored<Order>> {
        self.worker(worker)?.order.stored()
    }

    /// The jobs' records, with the versions to write against.
    pub(crate) fn records(&self) -> &BTreeMap<JobKey, Stored<Record>> {
        &self.records
    }

    /// Adds the instances once the ledger is read, which settles the runner of each worker.
    pub(crate) fn take_in_fleets(&mut self, fleets: BTreeMap<RunnerName, FleetStatus>) {
        self.fleets = fleets;
        for (job, stored) in &self.records {
            let worker = stored.value.worker();
            let worker = worker.map(|worker| self.workers.entry(worker.clone()).or_default());
            if let Some(worker) = worker {
                worker.jobs.insert(job.clone());
                worker.runner.get_or_insert_with(|| job.runner.clone());
            }
        }
        for worker in self.workers.values_mut() {
            let Reading::Read(order) = &worker.order else {
                continue;
            };
            let runner = &order.value.runner;
            let named = order
                .value
                .entries
                .keys()
                .map(|id| JobKey::new(runner, *id));
            let is_unread =
                |job: &JobKey| self.aside.jobs.contains(job) && !self.records.contains_key(job);
            worker.unread_jobs = named.filter(is_unread).collect();
            worker.runner = Some(runner.clone());
        }
        for (runner, fleet) in &mut self.fleets {
            for (id, instance) in std::mem::take(&mut fleet.instances) {
                let worker = self.workers.entry(id).or_default();
                if worker.runner.get_or_insert_with(|| runner.clone()) == runner {
                    worker.instance = Some(instance);
                }
            }
        }
        for (id, worker) in &mut self.workers {
            worker.unknown = match &worker.runner {
                Some(runner) => self
                    .fleets
                    .get(runner)
                    .is_some_and(|fleet| fleet.has_lost(id)),
                // Of whatever runner: EC2 knows the instance if any fleet has found it.
                None => self.fleets.values().all(|fleet| fleet.has_lost(id)),
            };
            if let Some(runner) = &worker.runner {
                let all = self.by_runner.entry(runner.clone()).or_default();
                all.push(id.clone());
            }
        }
    }

    /// The workers that the ledger names and that a runner's fleet has to look up: its own, and
    /// those of no configured runner.
    pub(crate) fn named(&self, runner: &RunnerName) -> BTreeSet<WorkerId> {
        let answers = |worker: &Worker| worker.runner.as_ref().is_none_or(|of| of == runner);
        let named = self
            .workers()
            .filter(|(_, worker)| worker.is_named() && answers(worker));
        named.map(|(id, _)| id.clone()).collect()
    }

    /// The workers that have ever reported.
    pub(crate) fn reported(&self) -> BTreeSet<WorkerId> {
        let reported = self.workers().filter(|(_, worker)| worker.has_reported());
        reported.map(|(id, _)| id.clone()).collect()
    }

    /// Whether there is any job or worker.
    pub(crate) fn is_busy(&self) -> bool {
        let live = |worker: &Worker| worker.instance_state().is_some_and(InstanceState::is_live);
        let mut workers = self.workers.values();
        !self.records.is_empty()
            || workers.any(|worker| live(worker) || worker.order.stored().is_some())
    }

    /// Whether an attempt's payload may still be needed: the job's record is at this attempt, or
    /// the worker's order names it. If either could not be read, the answer is yes.
    pub(crate) fn needs_work(&self, worker: &WorkerId, job: u64, attempt: u32) -> bool {
        let unread = self.aside.jobs.iter().any(|aside| aside.id == job);
        unread
            || self.worker(worker).is_some_and(|worker| {
                let order = worker.order.value();
                let entry = order.and_then(|order| order.entries.get(&job));
                let mut jobs = worker.jobs.iter().filter(|key| key.id == job);
                worker.is_aside()
                    || entry.is_some_and(|entry| entry.attempt == attempt)
                    || jobs.any(|key| self.records[key].value.attempt == attempt)
            })
    }

    /// Records that a record was written.
    pub(crate) fn put_record(&mut self, job: &JobKey, stored: Stored<Record>) {
        self.remove_record(job);
        if let Some(worker) = stored.value.worker() {
            let worker = self.workers.entry(worker.clone()).or_default();
            worker.jobs.insert(job.clone());
        }
        self.records.insert(job.clone(), stored);
    }

    /// Records that a record is gone.
    pub(crate) fn remove_record(&mut self, job: &JobKey) {
        let old = self.records.remove(job);
        let worker = old.as_ref().and_then(|old| old.value.worker());
        if let Some(worker) = worker.and_then(|worker| self.workers.get_mut(worker)) {
            worker.jobs.remove(job);
        }
    }

    /// Records that an order was written.
    pub(crate) fn put_order(&mut self, worker: &WorkerId, stored: Stored<Order>) {
        let worker = self.workers.entry(worker.clone()).or_default();
        worker.order = Reading::Read(stored);
    }

    /// Records that the ledger has nothing about a worker any more.
    pub(crate) fn remove_worker(&mut self, worker: &WorkerId) {
        if let Some(worker) = self.workers.get_mut(worker) {
            (worker.order, worker.state) = (Reading::Absent, Reading::Absent);
        }
    }

    /// Leaves a worker alone for the rest of the round.
    pub(crate) fn drop_worker(&mut self, worker: &WorkerId) {
        self.workers.entry(worker.clone()).or_default().dropped = true;
    }

    /// Leaves a job, and the worker that has it, alone for the rest of the round.
    pub(crate) fn drop_job(&mut self, job: &JobKey) {
        let record = self.records.get(job);
        if let Some(worker) = record.and_then(|record| record.value.worker().cloned()) {
            self.drop_worker(&worker);
        }
        self.aside.jobs.insert(job.clone());
    }
}

#[cfg(test)]
mod tests;
