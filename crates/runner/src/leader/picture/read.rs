//! What one round reads: orders, then records, then states (rule 4).

use std::collections::HashMap;

use onspot_ledger::key::{JOBS, ORDERS, PAYLOADS, STATES};
use onspot_ledger::{
    ETag, Error, Key, Ledger, Listed, Order, Record, State, Stored, WorkerId, read,
};
use serde::de::DeserializeOwned;

use super::super::chain;
use super::{Picture, Reading, Worker};

/// What was read last, so that a round fetches only what has changed since.
///
/// If a listed version is already known, its content counts as read at the moment of the listing.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    orders: HashMap<String, Stored<Order>>,
    records: HashMap<String, Stored<Record>>,
    states: HashMap<String, Stored<State>>,
}

impl Reader {
    /// Reads everything a round needs, in the order of rule 4. A failed listing ends the round; an
    /// object that can't be read is set aside.
    pub(crate) async fn read(&mut self, ledger: &dyn Ledger) -> Result<Picture, Error> {
        let mut picture = Picture::default();
        self.read_orders(ledger, &mut picture).await?;
        self.read_records(ledger, &mut picture).await?;
        self.read_states(ledger, &mut picture).await?;
        Ok(picture)
    }

    async fn read_orders(&mut self, ledger: &dyn Ledger, to: &mut Picture) -> Result<(), Error> {
        let listed = ledger.list(ORDERS).await?;
        let found = refresh(ledger, &listed, Key::worker_of_order, Key::order);
        for missed in found.of(&mut self.orders).await {
            let (worker, order) = missed.set_aside(to);
            to.worker_mut(worker).order = order;
        }
        for (worker, order) in named(&self.orders, Key::worker_of_order) {
            to.worker_mut(worker).order = Reading::Read(order);
        }
        Ok(())
    }

    async fn read_records(&mut self, ledger: &dyn Ledger, to: &mut Picture) -> Result<(), Error> {
        let listed = ledger.list(JOBS).await?;
        let found = refresh(ledger, &listed, Key::job_of_record, Key::record);
        for missed in found.of(&mut self.records).await {
            let (job, record) = missed.set_aside::<Record>(to);
            if let Reading::Malformed(etag) = record {
                to.aside.records.insert(job.clone(), etag);
            }
            to.aside.jobs.insert(job);
        }
        to.records = named(&self.records, Key::job_of_record).collect();
        to.payloads = listed
            .iter()
            .filter_map(|object| Key::job_of_payload(&object.key))
            .collect();
        Ok(())
    }

    async fn read_states(&mut self, ledger: &dyn Ledger, to: &mut Picture) -> Result<(), Error> {
        let listed = ledger.list(STATES).await?;
        let found = refresh(ledger, &listed, Key::worker_of_state, Key::state);
        for missed in found.of(&mut self.states).await {
            let (worker, state) = missed.set_aside(to);
            to.worker_mut(worker).state = state;
        }
        for (worker, state) in named(&self.states, Key::worker_of_state) {
            to.worker_mut(worker).state = Reading::Read(state);
        }
        Ok(())
    }
}

impl Picture {
    fn worker_mut(&mut self, worker: WorkerId) -> &mut Worker {
        self.workers.entry(worker).or_default()
    }
}

/// The payload objects of a worker's attempts.
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

/// An object that is listed but could not be read.
struct Missed<N> {
    name: N,
    key: String,
    /// Its version in the listing.
    etag: ETag,
    why: String,
    /// It was read but is malformed for this version.
    malformed: bool,
}

impl<N> Missed<N> {
    /// Records why, and returns the object's name and what is known about it.
    fn set_aside<T>(self, picture: &mut Picture) -> (N, Reading<T>) {
        picture.aside.why.insert(self.key, self.why);
        let reading = if self.malformed {
            Reading::Malformed(self.etag)
        } else {
            Reading::Unread(self.etag)
        };
        (self.name, reading)
    }
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
    /// Brings `known` up to date. Each object is read separately; those that fail are returned.
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

fn named<T: Clone, N>(
    known: &HashMap<String, Stored<T>>,
    name: fn(&str) -> Option<N>,
) -> impl Iterator<Item = (N, Stored<T>)> {
    let known = known.iter();
    known.filter_map(move |(text, stored)| Some((name(text)?, stored.clone())))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onspot_ledger::{BootId, Condition, JobKey, MemoryLedger, RunnerName, create};

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
        let picture = Reader::default().read(&ledger).await.unwrap();
        assert!(picture.workers[&a].state.value().is_some());
        assert!(picture.workers[&b].state.is_malformed());
        assert!(picture.aside.why.contains_key(key.as_str()));
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
        let picture = Reader::default().read(&ledger).await.unwrap();
        assert!(picture.order(&a).is_some());
        assert!(picture.workers[&b].is_aside() && !picture.workers[&a].is_aside());
        assert!(picture.aside.jobs.contains(&job));
        assert_eq!(picture.aside.why.len(), 2);
    }
}
