//! What one round reads: orders, then records, then states (rule 4).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use onspot_ledger::key::{JOBS, ORDERS, PAYLOADS, STATES};
use onspot_ledger::{
    ETag, Error, JobKey, Key, Ledger, Listed, Order, Record, RunnerName, State, Stored, WorkerId,
    read,
};
use serde::de::DeserializeOwned;

use super::chain;
use super::fleet::FleetSight;

/// Everything the leader decides by, as it was read in one round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub orders: BTreeMap<WorkerId, Stored<Order>>,
    pub records: BTreeMap<JobKey, Stored<Record>>,
    pub states: BTreeMap<WorkerId, Stored<State>>,
    /// Workers whose state is not what this version writes, with its version: that is no reason
    /// to stop looking after all the others.
    pub unreadable: BTreeMap<WorkerId, ETag>,
    /// Payloads that lie beside records, and may have lost theirs.
    pub payloads: BTreeSet<JobKey>,
    /// What could not be read.
    pub aside: Aside,
}

/// What a round sets aside, because it could not be read or written: it is left alone until the
/// next round, and everything else goes on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aside {
    /// Workers whose order is there and not known.
    pub orders: BTreeSet<WorkerId>,
    /// Those of them whose order is not what this version writes.
    pub malformed_orders: BTreeSet<WorkerId>,
    /// Workers whose state is there and not known, with the version that was listed.
    pub states: BTreeMap<WorkerId, ETag>,
    /// Jobs whose record is there and not known, or is not what this round thinks.
    pub jobs: BTreeSet<JobKey>,
    /// Records that are not what this version writes, with their versions.
    pub records: BTreeMap<JobKey, ETag>,
    /// Why, for people, by the object's key.
    pub why: BTreeMap<String, String>,
}

impl Aside {
    /// Whether it is unknown what a worker was asked for, or what it says.
    pub(crate) fn has_worker(&self, worker: &WorkerId) -> bool {
        self.orders.contains(worker) || self.states.contains_key(worker)
    }
}

impl Snapshot {
    /// Every worker that the ledger names.
    pub(crate) fn workers(&self) -> BTreeSet<WorkerId> {
        let states = self.states.keys().chain(self.unreadable.keys());
        let jobs = self.records.values();
        let assigned = jobs.filter_map(|record| record.value.worker());
        let aside = self.aside.orders.iter().chain(self.aside.states.keys());
        let all = self
            .orders
            .keys()
            .chain(states)
            .chain(assigned)
            .chain(aside);
        all.cloned().collect()
    }

    /// Whether what is laid ready for an attempt may still be asked for: its job's record is at
    /// this very attempt, or the worker's order names it. What is not known counts as a yes.
    pub(crate) fn needs_work(&self, worker: &WorkerId, job: u64, attempt: u32) -> bool {
        let order = self.orders.get(worker);
        let entry = order.and_then(|order| order.value.entries.get(&job));
        let held = self
            .records
            .iter()
            .any(|(key, record)| key.id == job && record.value.holds(worker, attempt));
        let unknown =
            self.aside.has_worker(worker) || self.aside.jobs.iter().any(|aside| aside.id == job);
        held || unknown || entry.is_some_and(|entry| entry.attempt == attempt)
    }

    /// Those of them that a runner's fleet answers for: what it ordered or assigned, what its
    /// capacity lists, and what nobody else answers for.
    pub(crate) fn workers_of(
        &self,
        runner: &RunnerName,
        fleets: &BTreeMap<RunnerName, FleetSight>,
    ) -> BTreeSet<WorkerId> {
        let assigned: HashMap<&WorkerId, &RunnerName> = self
            .records
            .iter()
            .filter_map(|(job, record)| Some((record.value.worker()?, &job.runner)))
            .collect();
        let answers = |worker: &WorkerId| {
            if let Some(order) = self.orders.get(worker) {
                return order.value.runner == *runner;
            }
            if let Some(of) = assigned.get(worker) {
                return *of == runner;
            }
            let mut listing = fleets.iter();
            let listed = listing.find(|(_, fleet)| fleet.instances.contains_key(worker));
            listed.is_none_or(|(name, _)| name == runner)
        };
        let workers = self.workers().into_iter();
        workers.filter(answers).collect()
    }
}

/// The last snapshot, so that a round fetches only what has changed since.
///
/// A version that is listed and known stands for its content, as if it had been read at the
/// moment of the listing.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    orders: HashMap<String, Stored<Order>>,
    records: HashMap<String, Stored<Record>>,
    states: HashMap<String, Stored<State>>,
}

impl Reader {
    /// Reads everything a round needs, in the order that rule 4 asks for. What can't be listed
    /// ends the round; an object that can't be read is set aside.
    pub(crate) async fn read(&mut self, ledger: &dyn Ledger) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot::default();
        let aside = &mut snapshot.aside;
        let listed = ledger.list(ORDERS).await?;
        let found = refresh(ledger, &listed, Key::worker_of_order, Key::order);
        for missed in found.of(&mut self.orders).await {
            aside.why.insert(missed.key, missed.why);
            if missed.malformed {
                aside.malformed_orders.insert(missed.name.clone());
            }
            aside.orders.insert(missed.name);
        }
        snapshot.orders = named(&self.orders, Key::worker_of_order);

        let listed = ledger.list(JOBS).await?;
        let found = refresh(ledger, &listed, Key::job_of_record, Key::record);
        for missed in found.of(&mut self.records).await {
            aside.why.insert(missed.key, missed.why);
            if missed.malformed {
                aside.records.insert(missed.name.clone(), missed.etag);
            }
            aside.jobs.insert(missed.name);
        }
        snapshot.records = named(&self.records, Key::job_of_record);
        snapshot.payloads = listed
            .iter()
            .filter_map(|object| Key::job_of_payload(&object.key))
            .collect();

        let listed = ledger.list(STATES).await?;
        let found = refresh(ledger, &listed, Key::worker_of_state, Key::state);
        for missed in found.of(&mut self.states).await {
            aside.why.insert(missed.key, missed.why);
            let of = if missed.malformed {
                &mut snapshot.unreadable
            } else {
                &mut aside.states
            };
            of.insert(missed.name, missed.etag);
        }
        snapshot.states = named(&self.states, Key::worker_of_state);
        Ok(snapshot)
    }
}

/// The payload objects that lie ready for a worker.
pub(crate) async fn work_of(
    ledger: &dyn Ledger,
    worker: &WorkerId,
) -> Result<Vec<(u64, u32)>, Error> {
    let listed = ledger.list(&format!("{PAYLOADS}{worker}/")).await?;
    let parts = listed
        .iter()
        .filter_map(|object| Key::parts_of_work(&object.key));
    Ok(parts
        .filter(|(of, ..)| of == worker)
        .map(|(_, job, attempt)| (job, attempt))
        .collect())
}

/// An object that is listed and could not be read.
struct Missed<N> {
    name: N,
    key: String,
    /// Its version in the listing.
    etag: ETag,
    why: String,
    /// It was read, and is not what this version writes.
    malformed: bool,
}

/// A listing whose new objects are to be read.
struct Refresh<'a, T, N> {
    ledger: &'a dyn Ledger,
    listed: &'a [Listed],
    name: fn(&str) -> Option<N>,
    key: fn(&N) -> Key<T>,
}

fn refresh<'a, T, N>(
    ledger: &'a dyn Ledger,
    listed: &'a [Listed],
    name: fn(&str) -> Option<N>,
    key: fn(&N) -> Key<T>,
) -> Refresh<'a, T, N> {
    Refresh {
        ledger,
        listed,
        name,
        key,
    }
}

impl<T: DeserializeOwned, N> Refresh<'_, T, N> {
    /// Brings `known` up to date. Each object is read by itself: what fails is given back.
    async fn of(self, known: &mut HashMap<String, Stored<T>>) -> Vec<Missed<N>> {
        let there: HashMap<&str, &ETag> = self
            .listed
            .iter()
            .map(|object| (object.key.as_str(), &object.etag))
            .collect();
        known.retain(|text, stored| there.get(text.as_str()) == Some(&&stored.etag));
        let mut changed = Vec::new();
        for object in self.listed {
            if !known.contains_key(&object.key)
                && let Some(name) = (self.name)(&object.key)
            {
                changed.push((object, name));
            }
        }
        let (ledger, key) = (self.ledger, self.key);
        let reads = changed.into_iter().map(|(object, name)| async move {
            let found = read(ledger, &key(&name)).await;
            (object, name, found)
        });
        let mut missed = Vec::new();
        for (object, name, found) in futures::future::join_all(reads).await {
            match found {
                Ok(Some(stored)) => drop(known.insert(object.key.clone(), stored)),
                Ok(None) => {}
                Err(error) => missed.push(Missed {
                    name,
                    key: object.key.clone(),
                    etag: object.etag.clone(),
                    malformed: matches!(error, Error::Malformed { .. }),
                    why: chain(&error),
                }),
            }
        }
        missed
    }
}

fn named<T: Clone, N: Ord>(
    known: &HashMap<String, Stored<T>>,
    name: impl Fn(&str) -> Option<N>,
) -> BTreeMap<N, Stored<T>> {
    known
        .iter()
        .filter_map(|(text, stored)| Some((name(text)?, stored.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onspot_ledger::{BootId, Condition, MemoryLedger, create};

    use super::*;

    #[tokio::test]
    async fn a_state_that_cannot_be_read_hides_no_other() {
        let ledger = MemoryLedger::new();
        let (a, b) = (WorkerId::of("AROA", "a"), WorkerId::of("AROA", "b"));
        let state = State::first(&BootId::new("b"), "1", 1, Timestamp::UNIX_EPOCH);
        create(&ledger, &Key::state(&a), state).await.unwrap();
        let key = Key::state(&b);
        let put = ledger.put_if(key.as_str(), b"{}".to_vec(), Condition::Absent);
        put.await.unwrap();
        let snapshot = Reader::default().read(&ledger).await.unwrap();
        assert!(snapshot.states.contains_key(&a) && !snapshot.states.contains_key(&b));
        assert!(snapshot.unreadable.contains_key(&b));
        assert!(snapshot.aside.why.contains_key(key.as_str()));
    }

    #[tokio::test]
    async fn an_order_or_a_record_that_cannot_be_read_hides_no_other() {
        let ledger = MemoryLedger::new();
        let (a, b) = (WorkerId::of("AROA", "a"), WorkerId::of("AROA", "b"));
        let runner = RunnerName::new("r");
        create(&ledger, &Key::order(&a), Order::empty(&runner))
            .await
            .unwrap();
        let job = JobKey::new(&runner, 7);
        for key in [Key::order(&b).to_string(), Key::record(&job).to_string()] {
            let put = ledger.put_if(&key, b"{}".to_vec(), Condition::Absent);
            put.await.unwrap();
        }
        let snapshot = Reader::default().read(&ledger).await.unwrap();
        assert!(snapshot.orders.contains_key(&a));
        assert!(snapshot.aside.has_worker(&b) && !snapshot.aside.has_worker(&a));
        assert!(snapshot.aside.jobs.contains(&job));
        assert_eq!(snapshot.aside.why.len(), 2);
    }
}
