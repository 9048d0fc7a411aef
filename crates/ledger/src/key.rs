//! Keys of the ledger's objects, typed by the object.

use std::fmt::{self, Write as _};
use std::marker::PhantomData;

use crate::ids::{JobKey, RunnerName, WorkerId};
use crate::{JobPayload, Leader, Order, PastJob, Record, State, WorkPayload};

/// The prefix of all orders.
pub const ORDERS: &str = "order/";
/// The prefix of all records and their payloads.
pub const JOBS: &str = "job/";
/// The prefix of all states.
pub const STATES: &str = "state/";
/// The prefix of all payloads for workers.
pub const PAYLOADS: &str = "payload/";
/// The prefix of the records of finished jobs.
pub const PAST: &str = "done/";

/// The suffix that distinguishes a payload from its record.
const PAYLOAD_SUFFIX: &str = ".payload";

/// The key of an object of type `T`, without the ledger's prefix.
pub struct Key<T> {
    text: String,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    fn new(text: String) -> Self {
        Self {
            text,
            of: PhantomData,
        }
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        Self::new(self.text.clone())
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T> fmt::Display for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Key<Leader> {
    /// The key of the object that names the leader.
    pub fn leader() -> Self {
        Self::new("leader".to_owned())
    }
}

impl Key<Record> {
    /// The key of a job's record.
    pub fn record(job: &JobKey) -> Self {
        Self::new(job_text(job))
    }

    /// The job whose record has this key below [`JOBS`]; `None` for a payload.
    pub fn job_of_record(text: &str) -> Option<JobKey> {
        if text.ends_with(PAYLOAD_SUFFIX) {
            None
        } else {
            job_of(text, JOBS)
        }
    }
}

impl Key<JobPayload> {
    /// The key of the payload that GitLab sent.
    pub fn job_payload(job: &JobKey) -> Self {
        Self::new(format!("{}{PAYLOAD_SUFFIX}", job_text(job)))
    }

    /// The job whose payload has this key below [`JOBS`]; `None` for a record.
    pub fn job_of_payload(text: &str) -> Option<JobKey> {
        job_of(text.strip_suffix(PAYLOAD_SUFFIX)?, JOBS)
    }
}

impl Key<Order> {
    /// The key of a worker's order.
    pub fn order(worker: &WorkerId) -> Self {
        Self::new(format!("{ORDERS}{worker}"))
    }

    /// The worker whose order has this key below [`ORDERS`].
    pub fn worker_of_order(text: &str) -> Option<WorkerId> {
        text.strip_prefix(ORDERS).map(WorkerId::new)
    }
}

impl Key<State> {
    /// The key of a worker's state.
    pub fn state(worker: &WorkerId) -> Self {
        Self::new(format!("{STATES}{worker}"))
    }

    /// The worker whose state has this key below [`STATES`].
    pub fn worker_of_state(text: &str) -> Option<WorkerId> {
        text.strip_prefix(STATES).map(WorkerId::new)
    }
}

impl Key<WorkPayload> {
    /// The key of the payload for one attempt of a job on a worker. Each attempt has its own
    /// object, so that it is written once and never changed, even when a worker gets the same job
    /// again.
    pub fn work(worker: &WorkerId, job: u64, attempt: u32) -> Self {
        Self::new(format!("{PAYLOADS}{worker}/{job}.{attempt}"))
    }

    /// The worker, job and attempt of a key below [`PAYLOADS`].
    pub fn parts_of_work(text: &str) -> Option<(WorkerId, u64, u32)> {
        let (worker, rest) = text.strip_prefix(PAYLOADS)?.rsplit_once('/')?;
        let (job, attempt) = rest.split_once('.')?;
        Some((
            WorkerId::new(worker),
            job.parse().ok()?,
            attempt.parse().ok()?,
        ))
    }
}

impl Key<PastJob> {
    /// The key of a finished job's record.
    pub fn past(job: &JobKey) -> Self {
        Self::new(format!("{PAST}{}/{}", escape(job.runner.as_str()), job.id))
    }

    /// The job of a key below [`PAST`].
    pub fn job_of_past(text: &str) -> Option<JobKey> {
        job_of(text, PAST)
    }
}

fn job_text(job: &JobKey) -> String {
    format!("{JOBS}{}/{}", escape(job.runner.as_str()), job.id)
}

fn job_of(text: &str, prefix: &str) -> Option<JobKey> {
    let (runner, id) = text.strip_prefix(prefix)?.rsplit_once('/')?;
    Some(JobKey {
        runner: RunnerName::new(unescape(runner)?),
        id: id.parse().ok()?,
    })
}

/// A runner's name is free text; in a key only characters that need no escaping in a URL are kept.
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a `String` can't fail.
            let _ = write!(escaped, "%{byte:02x}");
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_can_be_parsed_back(name in ".{0,20}", id: u64, attempt: u32) {
            let job = JobKey::new(&RunnerName::new(name), id);
            let record = Key::record(&job);
            let payload = Key::job_payload(&job);
            prop_assert_eq!(Key::job_of_record(record.as_str()), Some(job.clone()));
            prop_assert_eq!(Key::job_of_record(payload.as_str()), None);
            prop_assert_eq!(Key::job_of_payload(payload.as_str()), Some(job));
            prop_assert_eq!(Key::job_of_payload(record.as_str()), None);

            let worker = WorkerId::of("AROA", "i-1");
            let work = Key::work(&worker, id, attempt);
            prop_assert_eq!(Key::parts_of_work(work.as_str()), Some((worker, id, attempt)));
        }
    }

    #[test]
    fn keys_are_readable() {
        let job = JobKey::new(&RunnerName::new("docker m3/b"), 7);
        assert_eq!(Key::record(&job).as_str(), "job/docker%20m3%2fb/7");
        let worker = WorkerId::of("AROA", "i-1");
        assert_eq!(Key::order(&worker).as_str(), "order/AROA:i-1");
        assert_eq!(Key::state(&worker).as_str(), "state/AROA:i-1");
        assert_eq!(Key::work(&worker, 7, 2).as_str(), "payload/AROA:i-1/7.2");
    }
}
