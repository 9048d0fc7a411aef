//! `run/order/<worker>`: what a worker is asked to do. One object a worker (rule 3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::RunnerName;
use crate::object::Object;

/// A worker's order. It is born empty, before anything is asked of the worker, changed only
/// against its version, and kept while the instance may live: so a manager that was paused can
/// never bring an old entry back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Grows with every write.
    pub counter: u64,
    /// The `[[runners]]` that the worker serves.
    pub runner: RunnerName,
    /// The jobs asked of the worker, by GitLab's number.
    #[serde(default)]
    pub entries: BTreeMap<u64, OrderEntry>,
    /// Finish, and take nothing new.
    #[serde(default)]
    pub drain: bool,
}

/// What is asked about one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEntry {
    /// Which attempt.
    pub attempt: u32,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Run it.
    Run,
    /// It is not this worker's any more: stop, tell nobody, say given up.
    Revoked,
}

impl Order {
    /// The order of a worker of which nothing is asked yet.
    pub fn empty(runner: &RunnerName) -> Self {
        Self {
            counter: 0,
            runner: runner.clone(),
            entries: BTreeMap::new(),
            drain: false,
        }
    }

    /// Asks for an attempt: the second of assigning's two writes (rule 2).
    pub fn asked(&self, job: u64, attempt: u32) -> Self {
        self.with(job, attempt, Ask::Run)
    }

    /// Takes an attempt back.
    pub fn revoked(&self, job: u64, attempt: u32) -> Self {
        self.with(job, attempt, Ask::Revoked)
    }

    /// Forgets a job: only after its record has left the attempt (rule 15).
    pub fn released(&self, job: u64) -> Self {
        let mut next = self.clone();
        next.entries.remove(&job);
        next
    }

    /// Asks the worker to finish and take nothing new.
    pub fn drained(&self) -> Self {
        Self {
            drain: true,
            ..self.clone()
        }
    }

    /// Whether *run(attempt)* stands.
    pub fn runs(&self, job: u64, attempt: u32) -> bool {
        self.entries
            .get(&job)
            .is_some_and(|entry| entry.attempt == attempt && entry.ask == Ask::Run)
    }

    /// Whether *revoked(attempt)* stands.
    pub fn revokes(&self, job: u64, attempt: u32) -> bool {
        self.entries
            .get(&job)
            .is_some_and(|entry| entry.attempt == attempt && entry.ask == Ask::Revoked)
    }

    fn with(&self, job: u64, attempt: u32, ask: Ask) -> Self {
        let mut next = self.clone();
        next.entries.insert(job, OrderEntry { attempt, ask });
        next
    }
}

impl Object for Order {
    fn counter(&self) -> u64 {
        self.counter
    }

    fn set_counter(&mut self, counter: u64) {
        self.counter = counter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_of_an_older_version_is_read_whatever_else_it_says() {
        let text = r#"{"counter": 3, "runner": "r",
            "entries": {"7": {"attempt": 1, "ask": "run", "cancel": false}}}"#;
        let order: Order = serde_json::from_str(text).unwrap();
        assert!(order.runs(7, 1));
    }
}
