//! What GitLab sent with each job, and how to speak to GitLab about a job whose payload is lost.
//!
//! GitLab accepts a job's result only with the job's own token, which came with the payload. So the
//! leader remembers a token as soon as it has seen it, and finds it again in the payloads of
//! earlier attempts; see `docs/design/0012-a-lost-payload-ends-its-job.md`.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;

use onspot_gitlab::{AssignedJob, JobId, JobPayload, JobToken};
use onspot_ledger::{Error, Event, JobKey, Key, Ledger, Record, read};
use serde_json::Value;

/// The payloads of the jobs of one ledger. Clones share what they remember.
#[derive(Clone)]
pub(crate) struct Payloads {
    ledger: Arc<dyn Ledger>,
    tokens: Arc<Mutex<HashMap<JobKey, JobToken>>>,
}

impl Payloads {
    pub(crate) fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self {
            ledger,
            tokens: Arc::default(),
        }
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<JobKey, JobToken>> {
        // Nothing below panics halfway through a change.
        self.tokens.lock()
    }

    /// Remembers the token with which to tell GitLab about a job.
    pub(crate) fn note(&self, job: &JobKey, raw: &Value) {
        if let Some(token) = token_in(raw) {
            self.tokens().insert(job.clone(), token);
        }
    }

    /// The unchanged payload; `None` if there is none that can be read.
    pub(crate) async fn raw(&self, job: &JobKey) -> Result<Option<Value>, Error> {
        match read(&*self.ledger, &Key::job_payload(job)).await {
            Ok(Some(stored)) => {
                self.note(job, &stored.value.raw);
                Ok(Some(stored.value.raw))
            }
            Ok(None) => Ok(None),
            Err(Error::Malformed { .. }) => {
                tracing::error!(job = job.id, runner = %job.runner, "its payload can't be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// As much of the payload as is needed to tell GitLab about the job. Without the payload, the
    /// token comes from elsewhere; `None` if there is no token left.
    pub(crate) async fn to_tell(
        &self,
        job: &JobKey,
        record: &Record,
    ) -> Result<Option<JobPayload>, Error> {
        if let Some(raw) = self.raw(job).await? {
            let bare = token_in(&raw).map(|token| bare(job, token));
            return Ok(AssignedJob::parse(raw).map_or(bare, |assigned| Some(assigned.job)));
        }
        let known = self.tokens().get(job).cloned();
        let token = match known {
            Some(token) => Some(token),
            None => self.token_of_an_attempt(job, record).await?,
        };
        Ok(token.map(|token| bare(job, token)))
    }

    /// Each attempt was given a copy of its own.
    async fn token_of_an_attempt(
        &self,
        job: &JobKey,
        record: &Record,
    ) -> Result<Option<JobToken>, Error> {
        for entry in record.history.iter().rev() {
            let Event::Assigned { worker, attempt } = &entry.event else {
                continue;
            };
            match read(&*self.ledger, &Key::work(worker, job.id, *attempt)).await {
                Ok(Some(work)) => {
                    if let Some(token) = token_in(&work.value.raw) {
                        // That copy goes when the attempt's order is released.
                        self.note(job, &work.value.raw);
                        return Ok(Some(token));
                    }
                }
                Ok(None) | Err(Error::Malformed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Forgets all jobs but these.
    pub(crate) fn retain(&self, exists: impl Fn(&JobKey) -> bool) {
        self.tokens().retain(|job, _| exists(job));
    }
}

fn token_in(raw: &Value) -> Option<JobToken> {
    let token = raw.get("token")?.as_str()?;
    (!token.is_empty()).then(|| JobToken::new(token))
}

fn bare(job: &JobKey, token: JobToken) -> JobPayload {
    JobPayload {
        id: JobId(job.id),
        token,
        ..JobPayload::default()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onspot_ledger::{
        Condition, JobLabel, MemoryLedger, Restart, RunnerName, WorkPayload, WorkerId, create,
    };
    use serde_json::json;

    use super::*;

    fn job() -> JobKey {
        JobKey::new(&RunnerName::new("r"), 7)
    }

    fn record() -> Record {
        let now = Timestamp::UNIX_EPOCH;
        Record::received(JobLabel::default(), Restart::Allowed, now, now)
    }

    async fn token(payloads: &Payloads, record: &Record) -> Option<String> {
        let payload = payloads.to_tell(&job(), record).await.unwrap()?;
        assert_eq!(payload.id, JobId(7));
        Some(payload.token.expose().to_owned())
    }

    #[tokio::test]
    async fn a_job_whose_payload_is_lost_can_be_ended_by_who_has_seen_its_token() {
        let payloads = Payloads::new(Arc::new(MemoryLedger::new()));
        assert_eq!(token(&payloads, &record()).await, None);
        payloads.note(&job(), &json!({"id": 7, "token": "secret"}));
        assert_eq!(token(&payloads, &record()).await.unwrap(), "secret");
        payloads.retain(|_| false);
        assert_eq!(token(&payloads, &record()).await, None);
    }

    #[tokio::test]
    async fn a_job_whose_payload_is_lost_can_be_ended_by_what_an_attempt_was_given() {
        let ledger = Arc::new(MemoryLedger::new());
        let (worker, now) = (WorkerId::of("AROA", "i-1"), Timestamp::UNIX_EPOCH);
        let work = WorkPayload {
            attempt: 1,
            deadline: now,
            trace: None,
            losses: Vec::new(),
            short_token: String::new(),
            raw: json!({"id": 7, "token": "secret"}),
        };
        let key = Key::work(&worker, 7, 1);
        create(&*ledger, &key, work).await.unwrap();
        let spoilt = Key::job_payload(&job());
        let put = ledger.put_if(spoilt.as_str(), b"{".to_vec(), Condition::Absent);
        put.await.unwrap();
        let record = record().assigned(&worker, None, now).unwrap();
        let payloads = Payloads::new(ledger);
        assert_eq!(token(&payloads, &record).await.unwrap(), "secret");
    }
}
