//! What one round reads: orders, then records, then states (rule 4).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use onspot_ledger::key::{JOBS, ORDERS, PAYLOADS, STATES};
use onspot_ledger::{
    ETag, Error, JobKey, Key, Ledger, Listed, Order, Record, RunnerName, State, Stored, WorkerId,
    read,
};
use serde::de::DeserializeOwned;

use super::fleet::FleetSight;

/// Everything the leader decides by, as it was read in one round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub orders: BTreeMap<WorkerId, Stored<Order>>,
    pub records: BTreeMap<JobKey, Stored<Record>>,
    pub states: BTreeMap<WorkerId, Stored<State>>,
    /// Workers whose state can't be read, with its version: that is no reason to stop looking
    /// after all the others.
    pub unreadable: BTreeMap<WorkerId, ETag>,
    /// Payloads that lie beside records, and may have lost theirs.
    pub payloads: BTreeSet<JobKey>,
}

impl Snapshot {
    /// Every worker that the ledger names.
    pub(crate) fn workers(&self) -> BTreeSet<WorkerId> {
        let states = self.states.keys().chain(self.unreadable.keys());
        let jobs = self.records.values();
        let assigned = jobs.filter_map(|record| record.value.worker());
        let all = self.orders.keys().chain(states).chain(assigned);
        all.cloned().collect()
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
            let listed = listing.find(|(_, fleet)| fleet.machines.contains_key(worker));
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
    /// Reads everything a round needs, in the order that rule 4 asks for.
    pub(crate) async fn read(&mut self, ledger: &dyn Ledger) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot::default();
        let listed = ledger.list(ORDERS).await?;
        refresh(
            ledger,
            &mut self.orders,
            &listed,
            Key::worker_of_order,
            Key::order,
        )
        .await?
        .all_readable()?;
        snapshot.orders = named(&self.orders, Key::worker_of_order);

        let listed = ledger.list(JOBS).await?;
        refresh(
            ledger,
            &mut self.records,
            &listed,
            Key::job_of_record,
            Key::record,
        )
        .await?
        .all_readable()?;
        snapshot.records = named(&self.records, Key::job_of_record);
        snapshot.payloads = listed
            .iter()
            .filter_map(|object| Key::job_of_payload(&object.key))
            .collect();

        let listed = ledger.list(STATES).await?;
        let malformed = refresh(
            ledger,
            &mut self.states,
            &listed,
            Key::worker_of_state,
            Key::state,
        )
        .await?;
        snapshot.states = named(&self.states, Key::worker_of_state);
        snapshot.unreadable = malformed.versions(&listed);
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

/// The objects that are not what this version writes.
#[derive(Debug)]
struct Malformed<N> {
    found: Vec<(N, String, Error)>,
}

impl<N> Malformed<N> {
    /// An error if there is any.
    fn all_readable(mut self) -> Result<(), Error> {
        self.found.pop().map_or(Ok(()), |(_, _, error)| Err(error))
    }
}

impl<N: Ord> Malformed<N> {
    /// Their versions, by what they are named after.
    fn versions(self, listed: &[Listed]) -> BTreeMap<N, ETag> {
        let versions = self.found.into_iter().filter_map(|(name, key, error)| {
            tracing::warn!(%error, "skipped");
            let object = listed.iter().find(|object| object.key == key)?;
            Some((name, object.etag.clone()))
        });
        versions.collect()
    }
}

async fn refresh<T: DeserializeOwned, N>(
    ledger: &dyn Ledger,
    known: &mut HashMap<String, Stored<T>>,
    listed: &[Listed],
    name: impl Fn(&str) -> Option<N>,
    key: impl Fn(&N) -> Key<T>,
) -> Result<Malformed<N>, Error> {
    let there: HashMap<&str, &ETag> = listed
        .iter()
        .map(|object| (object.key.as_str(), &object.etag))
        .collect();
    known.retain(|text, stored| there.get(text.as_str()) == Some(&&stored.etag));
    let changed = listed
        .iter()
        .filter(|object| !known.contains_key(&object.key));
    let wanted: Vec<(&str, N)> = changed
        .filter_map(|object| Some((object.key.as_str(), name(&object.key)?)))
        .collect();
    let reads = wanted.into_iter().map(|(text, named)| {
        let key = key(&named);
        async move {
            match read(ledger, &key).await {
                Err(error @ Error::Malformed { .. }) => Ok((text, named, Err(error))),
                answer => Ok::<_, Error>((text, named, Ok(answer?))),
            }
        }
    });
    let mut malformed = Malformed { found: Vec::new() };
    for (text, named, found) in futures::future::try_join_all(reads).await? {
        match found {
            Ok(Some(stored)) => drop(known.insert(text.to_owned(), stored)),
            Ok(None) => {}
            Err(error) => malformed.found.push((named, text.to_owned(), error)),
        }
    }
    Ok(malformed)
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
    }
}
