//! `run/order/<worker>`: what a worker should do. One object per worker (rule 3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::RunnerName;
use crate::object::Object;

/// A worker's order. It is created empty, before anything is asked of the worker, then only changed
/// against its version, and kept while the instance may live. So a manager that was paused can
/// never bring an old entry back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Grows with every write.
    pub counter: u64,
    /// The `[[runners]]` that the worker serves.
    pub runner: RunnerName,
    /// The jobs of the worker, by GitLab's number.
    #[serde(default)]
    pub entries: BTreeMap<u64, OrderEntry>,
    /// Whether the worker should finish its jobs and take no new ones.
    #[serde(default)]
    pub drain: bool,
}

/// What the worker should do with one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEntry {
    /// The attempt's number.
    pub attempt: u32,
    /// What to do with it.
    pub ask: Ask,
}

/// What a worker should do with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Run it.
    Run,
    /// The worker no longer owns it: stop it, report nothing to GitLab, set it to *given up*.
    Revoked,
}

impl Order {
    /// An order without entries.
    pub fn empty(runner: &RunnerName) -> Self {
        Self {
            counter: 0,
            runner: runner.clone(),
            entries: BTreeMap::new(),
            drain: false,
        }
    }

    /// Adds *run(attempt)*: the second of the two writes that assign a job (rule 2).
    pub fn asked(&self, job: u64, attempt: u32) -> Self {
        self.with(job, attempt, Ask::Run)
    }

    /// Revokes an attempt.
    pub fn revoked(&self, job: u64, attempt: u32) -> Self {
        self.with(job, attempt, Ask::Revoked)
    }

    /// Removes a job's entry: only after its record has left the attempt (rule 15).
    pub fn released(&self, job: u64) -> Self {
        let mut next = self.clone();
        next.entries.remove(&job);
        next
    }

    /// Asks the worker to finish its jobs and take no new ones.
    pub fn drained(&self) -> Self {
        Self {
            drain: true,
            ..self.clone()
        }
    }

    /// Whether the entry is *run(attempt)*.
    pub fn runs(&self, job: u64, attempt: u32) -> bool {
        self.entries
            .get(&job)
            .is_some_and(|entry| entry.attempt == attempt && entry.ask == Ask::Run)
    }

    /// Whether the entry is *revoked(attempt)*.
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
    fn unknown_fields_of_an_order_are_ignored() {
        let text = r#"{"counter": 3, "runner": "r",
            "entries": {"7": {"attempt": 1, "ask": "run", "cancel": false}}}"#;
        let order: Order = serde_json::from_str(text).unwrap();
        assert!(order.runs(7, 1));
    }
}
