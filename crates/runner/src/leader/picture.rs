//! Everything that the leader decides by: one picture of the stack, made once a round.
//!
//! It is indexed, as a round looks at each worker and each job a few times: by worker, by runner,
//! and the jobs by the worker that has them. What a round writes it writes here as well.

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
    /// What is known of each runner's instances, beside the instances themselves.
    pub fleets: BTreeMap<RunnerName, FleetStatus>,
    workers: BTreeMap<WorkerId, Worker>,
    by_runner: BTreeMap<RunnerName, Vec<WorkerId>>,
    records: BTreeMap<JobKey, Stored<Record>>,
    /// Payloads that lie beside records, and may have lost theirs.
    pub payloads: BTreeSet<JobKey>,
    /// What could not be read.
    pub aside: Aside,
}

/// A worker: all that is known of it.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// Whose it is: whose order or job it has, or whose instances it is among.
    pub runner: Option<RunnerName>,
    /// Its instance, as its runner's fleet knows it.
    pub instance: Option<Instance>,
    /// EC2 says, asked by its id, that there is no such instance.
    unknown: bool,
    /// What it was asked for.
    pub order: Reading<Order>,
    /// What it says of itself.
    pub state: Reading<State>,
    /// A plan about it was dropped in this round: its order is not what this round thinks.
    dropped: bool,
    /// The jobs whose records say that it has them.
    pub jobs: BTreeSet<JobKey>,
    /// The jobs that its order names and whose records are there and not known.
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
    /// It is listed in this version, and could not be read now.
    Unread(ETag),
    /// It is not what this version of onspot writes: that is no reason to stop looking after all
    /// the others.
    Malformed(ETag),
}

/// What a round sets aside, because it could not be read or written: it is left alone until the
/// next round, and everything else goes on.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Jobs whose record is there and not known, or is not what this round thinks.
    pub jobs: BTreeSet<JobKey>,
    /// Records that are not what this version writes, with their versions.
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

    /// The version that there is, read or not.
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

    /// Whether it was read, and is not what this version writes.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }

    /// Whether it is there and could not be read now.
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

    /// Whether it is unknown what it was asked for.
    pub(crate) fn has_unknown_order(&self) -> bool {
        self.dropped || self.order.is_unread() || self.order.is_malformed()
    }

    /// Whether it is unknown what it was asked for, or what it says.
    pub(crate) fn is_aside(&self) -> bool {
        self.has_unknown_order() || self.state.is_unread()
    }

    /// What EC2 says of its instance.
    pub(crate) fn instance_state(&self) -> Option<InstanceState> {
        self.instance.as_ref().map(|instance| instance.state)
    }

    /// Whether EC2 says that its instance is terminated (rule 12). That it is missing from a list
    /// says nothing: lists lag behind, and go by tags.
    pub(crate) fn is_terminated(&self) -> bool {
        self.instance_state().is_some_and(InstanceState::is_gone)
    }

    /// Whether nothing will be heard of it any more: its instance is terminated, or EC2 does not
    /// know it by its id *and* its state has been the same for `takeover`. One without the other
    /// is no proof.
    pub(crate) fn is_gone(&self, takeover: Duration) -> bool {
        self.is_terminated() || self.unknown && self.silent_for >= takeover
    }

    /// How many jobs were given to it and not taken from it.
    pub(crate) fn assigned(&self) -> u32 {
        let all = self.jobs.len() + self.unread_jobs.len();
        u32::try_from(all).unwrap_or(u32::MAX)
    }

    /// How many jobs it says that it works on.
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

    /// The same, to say of each what is remembered of it.
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

    /// Takes in what is known of the instances, once the ledger is read: whose each worker is.
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
                // Of whatever runner: EC2 knows it when any of them has found it.
                None => self.fleets.values().all(|fleet| fleet.has_lost(id)),
            };
            if let Some(runner) = &worker.runner {
                let all = self.by_runner.entry(runner.clone()).or_default();
                all.push(id.clone());
            }
        }
    }

    /// The workers that the ledger names and that a runner's fleet answers for: its own, and those
    /// that nobody else answers for.
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

    /// Whether there is anything to look after.
    pub(crate) fn is_busy(&self) -> bool {
        let live = |worker: &Worker| worker.instance_state().is_some_and(InstanceState::is_live);
        let mut workers = self.workers.values();
        !self.records.is_empty()
            || workers.any(|worker| live(worker) || worker.order.stored().is_some())
    }

    /// Whether what is laid ready for an attempt may still be asked for: its job's record is at
    /// this very attempt, or the worker's order names it. What is not known counts as a yes.
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

    /// Takes in a record that was written.
    pub(crate) fn put_record(&mut self, job: &JobKey, stored: Stored<Record>) {
        self.remove_record(job);
        if let Some(worker) = stored.value.worker() {
            let worker = self.workers.entry(worker.clone()).or_default();
            worker.jobs.insert(job.clone());
        }
        self.records.insert(job.clone(), stored);
    }

    /// Takes in that a record is gone.
    pub(crate) fn remove_record(&mut self, job: &JobKey) {
        let old = self.records.remove(job);
        let worker = old.as_ref().and_then(|old| old.value.worker());
        if let Some(worker) = worker.and_then(|worker| self.workers.get_mut(worker)) {
            worker.jobs.remove(job);
        }
    }

    /// Takes in an order that was written.
    pub(crate) fn put_order(&mut self, worker: &WorkerId, stored: Stored<Order>) {
        let worker = self.workers.entry(worker.clone()).or_default();
        worker.order = Reading::Read(stored);
    }

    /// Takes in that nothing stands in the ledger about a worker any more.
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
