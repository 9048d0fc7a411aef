//! Ends every job of a stack whose managers and workers are gone for good. GitLab is told about
//! each, so that none stays "running" there until its timeout.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use jiff::SignedDuration;
use onspot_gitlab::{AssignedJob, Error as GitLabError, JobPayload};
use onspot_ledger::key::JOBS;
use onspot_ledger::{
    Ending, Error, Event, JobKey, JobLabel, Key, Leader, Ledger, ManagerId, Phase, Record, Restart,
    RunnerName, State, Stored, TraceMark, Verdict, WorkerId, create, read, replace,
};

use super::report::write_end;
use super::takeover::{Judgement, after_the_end};
use crate::clock::Clock;
use crate::coordinator::Coordinator;

/// How many jobs are reported at a time.
const AT_ONCE: usize = 16;
/// How often a conflicting write is repeated. Nobody else writes, so the conflict is with one's own
/// write whose answer was lost.
const TRIES: usize = 5;
/// The trace's last line may take this fraction of the time for reporting a job.
const TRACE_PART: u32 = 3;
/// The pause between two tries to report a job.
const TRY_AGAIN: Duration = Duration::from_secs(3);

/// Returns the receiver of a job's report; `None` if that is not known.
pub type Coordinators<'a> =
    dyn Fn(&RunnerName, &JobPayload) -> Option<Arc<dyn Coordinator>> + Send + Sync + 'a;

/// How to settle the remaining jobs.
pub struct Settling<'a> {
    /// What is where.
    pub ledger: &'a dyn Ledger,
    /// The time.
    pub clock: Clock,
    /// Who settles: it takes the lead.
    pub me: ManagerId,
    /// The version of its program, for the ledger.
    pub version: String,
    /// Why jobs end, for their traces.
    pub why: String,
    /// The time limit for reporting all of them together.
    pub limit: Duration,
}

/// The results of the jobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The jobs whose end GitLab was told.
    pub told: Vec<(JobKey, Ending)>,
    /// The jobs that could not be reported to GitLab, and why.
    pub untold: Vec<Untold>,
}

/// A job that GitLab could not be told about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The job.
    pub job: JobKey,
    /// Why, for people.
    pub why: String,
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "job {} of {}: {}",
            self.job.id, self.job.runner, self.why
        )
    }
}

/// The end of a job that GitLab is to be told about.
struct End {
    job: JobKey,
    verdict: Verdict,
    trace: Option<TraceMark>,
}

impl Settling<'_> {
    /// Takes the lead, adopts the results that workers have stored, ends every other job, and tells
    /// GitLab about each job with its own token. After an interruption, another call continues.
    ///
    /// Call this only once EC2 has said that all managers and workers are terminated, because that
    /// replaces silence and revocation (rule 12). Each verdict is written into the record before it
    /// is reported (rule 13).
    ///
    /// # Errors
    /// Only if the ledger can't be read or written. An unreachable GitLab is no error: see
    /// [`Settled::untold`].
    pub async fn settle(&self, coordinators: &Coordinators<'_>) -> Result<Settled, Error> {
        let jobs = self.jobs().await?;
        if jobs.is_empty() {
            return Ok(Settled::default());
        }
        let lead = self.take_lead().await?;
        let mut ends = Vec::new();
        for job in jobs {
            ends.extend(self.judge(&job).await?);
        }
        let until = tokio::time::Instant::now() + self.limit;
        let telling = ends.iter().map(|end| {
            async move {
                let told = self.tell(end, coordinators, until).await;
                (end, told)
            }
            .boxed()
        });
        // Collected first, because a stream that holds the closure is not `Send`.
        let told: Vec<_> = futures::stream::iter(telling.collect::<Vec<_>>())
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut settled = Settled::default();
        for (end, told) in told {
            let job = end.job.clone();
            match told {
                Ok(()) => {
                    self.note_told(&job).await?;
                    settled.told.push((job, end.verdict.ending));
                }
                Err(why) => settled.untold.push(Untold { job, why }),
            }
        }
        settled.told.sort_by(|a, b| a.0.cmp(&b.0));
        settled.untold.sort_by(|a, b| a.job.cmp(&b.job));
        self.give_lead_back(lead).await?;
        Ok(settled)
    }

    /// Every job that has a record, or only a payload because its receiver died between the two
    /// writes.
    async fn jobs(&self) -> Result<BTreeSet<JobKey>, Error> {
        let listed = self.ledger.list(JOBS).await?;
        let job = |key: &str| Key::job_of_record(key).or_else(|| Key::job_of_payload(key));
        Ok(listed
            .iter()
            .filter_map(|object| job(&object.key))
            .collect())
    }

    /// Takes the lead at once, because its holder is terminated.
    async fn take_lead(&self) -> Result<Option<Stored<Leader>>, Error> {
        let (key, now) = (Key::leader(), self.clock.now());
        for _ in 0..TRIES {
            let taken = match read(self.ledger, &key).await? {
                None => {
                    let first = Leader::first(&self.me, &self.version, now);
                    create(self.ledger, &key, first).await?
                }
                Some(found) if found.value.is_led_by(&self.me) => Some(found),
                Some(found) => {
                    let next = found.value.taken_over(&self.me, &self.version, now);
                    replace(self.ledger, &key, &found, next).await?
                }
            };
            if taken.is_some() {
                return Ok(taken);
            }
        }
        // Every record is written against the version that was read, so the lead is not needed for
        // safety.
        tracing::warn!("the lead could not be taken");
        Ok(None)
    }

    /// Gives the lead back, so that a manager of the next `up` need not wait until this one counts
    /// as silent.
    async fn give_lead_back(&self, lead: Option<Stored<Leader>>) -> Result<(), Error> {
        if let Some(lead) = lead {
            replace(self.ledger, &Key::leader(), &lead, lead.value.released()).await?;
        }
        Ok(())
    }

    /// Writes a job's verdict into its record; returns what GitLab is to be told, if it has not
    /// been told yet.
    async fn judge(&self, job: &JobKey) -> Result<Option<End>, Error> {
        let key = Key::record(job);
        let end = |verdict: &Verdict, trace| {
            let (job, verdict) = (job.clone(), verdict.clone());
            Some(End {
                job,
                verdict,
                trace,
            })
        };
        for _ in 0..TRIES {
            let found = match read(self.ledger, &key).await {
                // Nobody could ever continue it, so it can only be ended.
                Err(Error::Malformed { .. }) => return Ok(end(&self.failure(), None)),
                answer => answer?,
            };
            let Some(found) = found else {
                let record = self.unrecorded();
                if create(self.ledger, &key, record.clone()).await?.is_some() {
                    return Ok(end(&self.failure(), None));
                }
                continue;
            };
            let record = match &found.value.phase {
                Phase::Done { .. } => return Ok(None),
                Phase::Finishing { verdict, .. } => return Ok(end(verdict, found.value.trace)),
                Phase::Waiting => self.ended(&found.value),
                Phase::Assigned { worker } => {
                    let state = self.state(worker).await?;
                    self.assigned(job, &found.value, state.as_ref())
                }
            };
            let Some(stored) = replace(self.ledger, &key, &found, record).await? else {
                continue;
            };
            return Ok(match &stored.value.phase {
                Phase::Finishing { verdict, .. } => end(verdict, stored.value.trace),
                _ => None,
            });
        }
        Ok(end(&self.failure(), None))
    }

    /// The last state of a terminated worker; `None` if it can't be read.
    async fn state(&self, worker: &WorkerId) -> Result<Option<State>, Error> {
        match read(self.ledger, &Key::state(worker)).await {
            Err(Error::Malformed { .. }) => Ok(None),
            answer => Ok(answer?.map(|stored| stored.value)),
        }
    }

    /// Ends a job that a worker had: an unreported result is adopted, a reported one stands, any
    /// other attempt is lost.
    fn assigned(&self, job: &JobKey, record: &Record, state: Option<&State>) -> Record {
        let now = self.clock.now();
        let mine = state
            .and_then(|state| state.jobs.get(&job.id))
            .filter(|attempt| attempt.attempt == record.attempt);
        let (verdict, steps, told) = match after_the_end(mine) {
            Ok(Judgement::Confirm { verdict, steps }) => (verdict, steps, true),
            Ok(Judgement::Adopt { verdict, steps }) => (verdict, steps, false),
            Ok(_) => return self.ended(record),
            Err(started) => {
                let lost = record.lost(&self.why, started, now);
                return self.ended(&lost.unwrap_or_else(|_| record.clone()));
            }
        };
        let attempt = record.attempt;
        let noted = record.noted(Event::Steps { attempt, steps }, now);
        let judged = noted.finishing(verdict, now).unwrap_or(noted);
        if told {
            judged.done(now).unwrap_or(judged)
        } else {
            judged
        }
    }

    /// The record of a job that ends here.
    fn ended(&self, record: &Record) -> Record {
        let judged = record.finishing(self.failure(), self.clock.now());
        // This fails only in phases that already have a verdict.
        judged.unwrap_or_else(|_| record.clone())
    }

    /// The record of a job that was received but never written down.
    fn unrecorded(&self) -> Record {
        let now = self.clock.now();
        let deadline = now + SignedDuration::from_hours(1);
        let record = Record::received(JobLabel::default(), Restart::Never, now, deadline);
        self.ended(&record)
    }

    fn failure(&self) -> Verdict {
        Verdict::failed("runner_system_failure", self.why.clone())
    }

    /// Tells GitLab about one job, repeatedly until `until`.
    async fn tell(
        &self,
        end: &End,
        coordinators: &Coordinators<'_>,
        until: tokio::time::Instant,
    ) -> Result<(), String> {
        let payload = self.payload(&end.job).await?;
        let Some(coordinator) = coordinators(&end.job.runner, &payload) else {
            return Err("no GitLab is known for it".to_owned());
        };
        // If the worker has a result of its own, it has already written that into the trace.
        if end.verdict.exit_code.is_none() {
            let line = write_end(&*coordinator, &payload, &end.verdict, end.trace);
            let line_until = until.min(tokio::time::Instant::now() + self.limit / TRACE_PART);
            // The verdict is reported even if the last line can't be written.
            let _ = tokio::time::timeout_at(line_until, line).await;
        }
        let mut last = "GitLab did not answer in time".to_owned();
        let told = async {
            while let Err(error) = coordinator.report(&payload, &end.verdict, None).await {
                last = super::chain(&error);
                tokio::time::sleep(TRY_AGAIN).await;
            }
        };
        match tokio::time::timeout_at(until, told).await {
            Ok(()) => Ok(()),
            Err(_elapsed) => Err(last),
        }
    }

    /// What is needed to tell GitLab about the job: at least its number and its token.
    async fn payload(&self, job: &JobKey) -> Result<JobPayload, String> {
        let stored = read(self.ledger, &Key::job_payload(job)).await;
        let stored = stored.map_err(|error| super::chain(&error))?;
        let stored = stored.ok_or("its payload is gone, and the job's token with it")?;
        match AssignedJob::parse(stored.value.raw) {
            Ok(assigned) => Ok(assigned.job),
            Err(GitLabError::Payload {
                job: Some((id, token)),
                ..
            }) => Ok(JobPayload {
                id,
                token,
                ..JobPayload::default()
            }),
            Err(error) => Err(super::chain(&error)),
        }
    }

    /// Records that the job was reported, for another call after an interruption.
    async fn note_told(&self, job: &JobKey) -> Result<(), Error> {
        let key = Key::record(job);
        let found = match read(self.ledger, &key).await {
            Err(Error::Malformed { .. }) => return Ok(()),
            answer => answer?,
        };
        if let Some(found) = found
            && let Ok(done) = found.value.done(self.clock.now())
        {
            replace(self.ledger, &key, &found, done).await?;
        }
        Ok(())
    }
}
