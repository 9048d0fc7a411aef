//! Everything at a glance, for `onspot status`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::ids::WorkerId;
use crate::key::{JOBS, Key, ORDERS, PAST, STATES};
use crate::object::{Stored, read};
use crate::store::Ledger;
use crate::{Leader, Order, PastJob, Record, State};

/// What is where. The parts are read one after the other, so they may be some milliseconds apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Who leads, and how the runners stand with GitLab.
    pub leader: Option<Leader>,
    /// The jobs that are not over, by `<runner>/<id>`.
    pub records: BTreeMap<String, Record>,
    /// What is asked of each worker.
    pub orders: BTreeMap<WorkerId, Order>,
    /// What each worker says of itself, as far as this version can read it.
    pub states: BTreeMap<WorkerId, State>,
    /// The jobs of the last day that are over, by `<runner>/<id>`.
    pub past: BTreeMap<String, Record>,
}

/// Reads everything but payloads. Nothing is written.
pub async fn overview(ledger: &dyn Ledger) -> Result<Overview, Error> {
    let mut found = Overview {
        leader: read(ledger, &Key::leader())
            .await?
            .map(|stored| stored.value),
        ..Overview::default()
    };
    for worker in keys(ledger, ORDERS, Key::worker_of_order).await? {
        if let Some(order) = value(ledger, &Key::order(&worker)).await? {
            found.orders.insert(worker, order);
        }
    }
    for job in keys(ledger, JOBS, Key::job_of_record).await? {
        if let Some(record) = value(ledger, &Key::record(&job)).await? {
            found.records.insert(job.to_string(), record);
        }
    }
    for worker in keys(ledger, STATES, Key::worker_of_state).await? {
        // A worker writes its own: one that writes nonsense must not hide all the others.
        match value(ledger, &Key::state(&worker)).await {
            Ok(Some(state)) => drop(found.states.insert(worker, state)),
            Ok(None) | Err(Error::Malformed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    for job in keys(ledger, PAST, Key::job_of_past).await? {
        if let Some(PastJob { job, record }) = value(ledger, &Key::past(&job)).await? {
            found.past.insert(job.to_string(), record);
        }
    }
    Ok(found)
}

async fn keys<K>(
    ledger: &dyn Ledger,
    prefix: &str,
    name: impl Fn(&str) -> Option<K>,
) -> Result<Vec<K>, Error> {
    Ok(ledger
        .list(prefix)
        .await?
        .iter()
        .filter_map(|listed| name(&listed.key))
        .collect())
}

async fn value<T: DeserializeOwned>(ledger: &dyn Ledger, key: &Key<T>) -> Result<Option<T>, Error> {
    Ok(read(ledger, key).await?.map(|Stored { value, .. }| value))
}
