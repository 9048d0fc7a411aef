//! The ledger's contents, for `onspot status`.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::ids::WorkerId;
use crate::key::{JOBS, Key, ORDERS, PAST, STATES};
use crate::object::{Stored, read};
use crate::store::Ledger;
use crate::{Leader, Order, Record, State};

/// The ledger's contents. The parts are read one after the other, so they may be some milliseconds
/// apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// The leader, and the runners' status in GitLab.
    pub leader: Option<Leader>,
    /// The unfinished jobs, by `<runner>/<id>`.
    pub records: BTreeMap<String, Record>,
    /// The order of each worker.
    pub orders: BTreeMap<WorkerId, Order>,
    /// The state of each worker, as far as this version can read it.
    pub states: BTreeMap<WorkerId, State>,
    /// The jobs that finished within the last day, by `<runner>/<id>`.
    pub past: BTreeMap<String, Record>,
    /// The objects that can't be read or written, here or by the leader, and why. They do not
    /// affect the others.
    pub aside: BTreeMap<String, String>,
}

/// How many objects are read concurrently.
const AT_ONCE: usize = 32;

/// Reads everything but payloads. Writes nothing. An unreadable object does not hide the others.
///
/// # Errors
/// If the store cannot list its objects.
pub async fn overview(ledger: &dyn Ledger) -> Result<Overview, Error> {
    let mut aside = BTreeMap::new();
    let leader = one(
        &mut aside,
        &Key::leader(),
        read(ledger, &Key::leader()).await,
    );
    let orders = all(ledger, ORDERS, Key::worker_of_order, Key::order, &mut aside).await?;
    let records = all(ledger, JOBS, Key::job_of_record, Key::record, &mut aside).await?;
    let states = all(ledger, STATES, Key::worker_of_state, Key::state, &mut aside).await?;
    let past = all(ledger, PAST, Key::job_of_past, Key::past, &mut aside).await?;
    if let Some(leader) = &leader {
        for (key, why) in &leader.aside {
            aside.entry(key.clone()).or_insert_with(|| why.clone());
        }
    }
    Ok(Overview {
        leader,
        orders: orders.into_iter().collect(),
        records: records
            .into_iter()
            .map(|(job, record)| (job.to_string(), record))
            .collect(),
        states: states.into_iter().collect(),
        past: past
            .into_iter()
            .map(|(_, past)| (past.job.to_string(), past.record))
            .collect(),
        aside,
    })
}

/// All readable objects below a prefix, by name.
async fn all<T: DeserializeOwned, N>(
    ledger: &dyn Ledger,
    prefix: &str,
    name: fn(&str) -> Option<N>,
    key: fn(&N) -> Key<T>,
    aside: &mut BTreeMap<String, String>,
) -> Result<Vec<(N, T)>, Error> {
    let listed = ledger.list(prefix).await?;
    let names = listed.iter().filter_map(|object| name(&object.key));
    let reads = names.map(|name| async move {
        let key = key(&name);
        let found = read(ledger, &key).await;
        (name, key, found)
    });
    let reads: Vec<_> = stream::iter(reads).buffered(AT_ONCE).collect().await;
    let mut found = Vec::with_capacity(reads.len());
    for (name, key, answer) in reads {
        found.extend(one(aside, &key, answer).map(|value| (name, value)));
    }
    Ok(found)
}

/// The object that was read; otherwise the error goes into `aside`.
fn one<T>(
    aside: &mut BTreeMap<String, String>,
    key: &Key<T>,
    answer: Result<Option<Stored<T>>, Error>,
) -> Option<T> {
    match answer {
        Ok(found) => found.map(|stored| stored.value),
        Err(error) => {
            aside.insert(key.to_string(), reason(&error));
            None
        }
    }
}

/// An error with its innermost cause.
fn reason(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match std::error::Error::source(error) {
        Some(_) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Condition, MemoryLedger, RunnerName, create};

    #[tokio::test]
    async fn an_unreadable_object_is_named_and_hides_no_other() {
        let ledger = MemoryLedger::new();
        let worker = WorkerId::of("AROA", "i-1");
        let order = Order::empty(&RunnerName::new("r"));
        create(&ledger, &Key::order(&worker), order).await.unwrap();
        let spoilt = ["order/AROA:i-2", "job/r/7", "state/AROA:i-2", "done/r/6"];
        for key in spoilt {
            let put = ledger.put_if(key, b"{}".to_vec(), Condition::Absent);
            put.await.unwrap();
        }
        let found = overview(&ledger).await.unwrap();
        assert!(found.orders.contains_key(&worker));
        let aside: Vec<&str> = found.aside.keys().map(String::as_str).collect();
        assert_eq!(
            aside,
            ["done/r/6", "job/r/7", "order/AROA:i-2", "state/AROA:i-2"]
        );
        assert!(
            found.aside["job/r/7"].contains("missing field"),
            "{:?}",
            found.aside
        );
    }
}
