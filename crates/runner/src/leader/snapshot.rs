//! What one round reads: orders, then records, then states (rule 4).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use onspot_ledger::key::{JOBS, ORDERS, PAYLOADS, STATES};
use onspot_ledger::{
    ETag, Error, JobKey, Key, Ledger, Listed, Order, Record, State, Stored, WorkerId, read,
};
use serde::de::DeserializeOwned;

/// Everything the leader decides by, as it was read in one round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub orders: BTreeMap<WorkerId, Stored<Order>>,
    pub records: BTreeMap<JobKey, Stored<Record>>,
    pub states: BTreeMap<WorkerId, Stored<State>>,
    /// Payloads that lie beside records, and may have lost theirs.
    pub payloads: BTreeSet<JobKey>,
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
        .await?;
        snapshot.orders = named(&self.orders, Key::worker_of_order);

        let listed = ledger.list(JOBS).await?;
        refresh(
            ledger,
            &mut self.records,
            &listed,
            Key::job_of_record,
            Key::record,
        )
        .await?;
        snapshot.records = named(&self.records, Key::job_of_record);
        snapshot.payloads = listed
            .iter()
            .filter_map(|object| Key::job_of_payload(&object.key))
            .collect();

        let listed = ledger.list(STATES).await?;
        refresh(
            ledger,
            &mut self.states,
            &listed,
            Key::worker_of_state,
            Key::state,
        )
        .await?;
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

async fn refresh<T: DeserializeOwned, N>(
    ledger: &dyn Ledger,
    known: &mut HashMap<String, Stored<T>>,
    listed: &[Listed],
    name: impl Fn(&str) -> Option<N>,
    key: impl Fn(&N) -> Key<T>,
) -> Result<(), Error> {
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
    let reads = wanted.iter().map(|(text, named)| {
        let key = key(named);
        async move { Ok::<_, Error>((*text, read(ledger, &key).await?)) }
    });
    for (text, found) in futures::future::try_join_all(reads).await? {
        if let Some(stored) = found {
            known.insert(text.to_owned(), stored);
        }
    }
    Ok(())
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
