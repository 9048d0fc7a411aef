//! Ending every job of a stack whose managers and workers are gone for good: GitLab is told about
//! each, so that none stays "running" there until its own timeout.

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

/// How many jobs are told about at a time.
const AT_ONCE: usize = 16;
/// How often a write that others were in the way of is begun again. Nobody else is there, so
/// what is in the way is one's own write whose answer was lost.
const TRIES: usize = 5;
/// The trace's last line may take this part of the time that there is to tell about a job.
const TRACE_PART: u32 = 3;
/// Between two tries to tell about a job.
const TRY_AGAIN: Duration = Duration::from_secs(3);

/// Whom to tell about a job; `None` if that is not known.
pub type Coordinators<'a> =
    dyn Fn(&RunnerName, &JobPayload) -> Option<Arc<dyn Coordinator>> + Send + Sync + 'a;

/// How to settle what is left.
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
    /// How long GitLab may take for all of them together.
    pub limit: Duration,
}

/// What became of the jobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The jobs whose end GitLab was told.
    pub told: Vec<(JobKey, Ending)>,
    /// The jobs that GitLab knows nothing new about, and why.
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
    /// Takes the lead, adopts the results that workers have stored, ends every other job, and
    /// tells GitLab, each job by its own token. Begun again after it was cut off, it goes on.
    ///
    /// To be called once EC2 has said that all managers and workers are terminated, and not
    /// before: that is what replaces silence and revocation (rule 12). Each verdict stands in the
    /// record before it is told (rule 13).
    ///
    /// # Errors
    /// Only when the ledger can't be read or written. A GitLab that can't be told is no error:
    /// see [`Settled::untold`].
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
        // Collected, for a stream that holds the closure can't be sent to another thread.
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

    /// Every job that has a record, or only a payload: its receiver died between the two writes.
    async fn jobs(&self) -> Result<BTreeSet<JobKey>, Error> {
        let listed = self.ledger.list(JOBS).await?;
        let job = |key: &str| Key::job_of_record(key).or_else(|| Key::job_of_payload(key));
        Ok(listed
            .iter()
            .filter_map(|object| job(&object.key))
            .collect())
    }

    /// Takes the lead at once: whoever holds it is terminated.
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
        // Records are written against what was read, so the lead is a courtesy.
        tracing::warn!("the lead could not be taken");
        Ok(None)
    }

    /// So that a manager of the next `up` need not wait for our silence.
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
                // Nobody could ever go on with it: ending it is all that can be done.
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

    /// What a terminated worker has said last. What can't be read says nothing.
    async fn state(&self, worker: &WorkerId) -> Result<Option<State>, Error> {
        match read(self.ledger, &Key::state(worker)).await {
            Err(Error::Malformed { .. }) => Ok(None),
            answer => Ok(answer?.map(|stored| stored.value)),
        }
    }

    /// A job that a worker had: its result is adopted, what it told stands, anything else is lost.
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
        // Only for phases that have their verdict already.
        judged.unwrap_or_else(|_| record.clone())
    }

    /// The record of a job that was received and never written down.
    fn unrecorded(&self) -> Record {
        let now = self.clock.now();
        let deadline = now + SignedDuration::from_hours(1);
        let record = Record::received(JobLabel::default(), Restart::Never, now, deadline);
        self.ended(&record)
    }

    fn failure(&self) -> Verdict {
        Verdict::failed("runner_system_failure", self.why.clone())
    }

    /// Tells GitLab about one job, again and again until `until`.
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
        // A worker's own result is in the trace already, as far as the trace goes.
        if end.verdict.exit_code.is_none() {
            let line = write_end(&*coordinator, &payload, &end.verdict, end.trace);
            let line_until = until.min(tokio::time::Instant::now() + self.limit / TRACE_PART);
            // The verdict is told also if the trace takes no last line.
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

    /// What is needed to speak to GitLab about the job: its number and its token at least.
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

    /// The job is over also for whoever comes after this was cut off.
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
