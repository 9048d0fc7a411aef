//! Cleans up: releases orders, and removes objects that nothing refers to any more (rules 15 and
//! 16).

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use onspot_gitlab::AssignedJob;
use onspot_ledger::key::{PAST, PAYLOADS};
use onspot_ledger::{
    ETag, Error, JobKey, JobLabel, Key, PastJob, Phase, Record, Restart, RunnerName, Stored,
    Verdict, WorkerId, delete, establish, replace,
};

use super::picture::{Worker, work_of};
use super::receive::{DEFAULT_TIMEOUT, timeout_of};
use super::round::{Round, RoundError, Rounds};

/// After this much silence, a worker of a runner that is not configured any more is forgotten.
const FORGET_STRANGERS: Duration = Duration::from_hours(1);

/// After this long, the leader examines a record that can't be read.
const LOOK_AT_UNREADABLE: Duration = Duration::from_hours(1);

impl Rounds {
    /// Releases, then removes: record *done* → order released → record deleted. Each worker and
    /// each job is handled separately; the next round repeats what has failed.
    pub(super) async fn clean_up(&mut self, round: &mut Round) -> Result<(), RoundError> {
        let ordered = round.picture.workers();
        let ordered = ordered.filter(|(_, worker)| worker.order.stored().is_some());
        let ordered: Vec<WorkerId> = ordered.map(|(id, _)| id.clone()).collect();
        for worker in ordered {
            self.beat.now();
            let released = self.release_order(round, &worker).await;
            round.served(&worker, released)?;
        }
        for (job, record) in Self::done_and_released(round) {
            self.beat.now();
            let removed = self.remove_done(round, &job, record).await;
            round.judged(&job, removed)?;
        }
        self.evict_the_unreadable(round);
        for worker in self.gone_workers(round) {
            self.beat.now();
            let removed = self.remove_gone_worker(round, &worker).await;
            round.served(&worker, removed)?;
        }
        let steady = self.context.clock.steady();
        for job in self.memory.orphans(steady) {
            self.beat.now();
            let ended = self.end_orphan(round, &job).await;
            round.cleared(Key::job_payload(&job).as_str(), ended)?;
        }
        self.remove_leftovers(round, steady).await?;
        self.remove_past(round, steady).await
    }

    /// Ends a job that has a payload but no record: its receiver died before it wrote the record,
    /// so nobody works on the job. If the receiver is alive after all and about to write the
    /// record, exactly one of the two writes is applied.
    async fn end_orphan(&self, round: &Round, job: &JobKey) -> Result<(), RoundError> {
        let ledger = &*self.context.ledger;
        let payload = Key::job_payload(job);
        // The job is over, and a late write has brought its payload back.
        let over = ledger.get(Key::past(job).as_str()).await?.is_some();
        if over || self.runner_context(&job.runner).is_none() {
            tracing::warn!(job = job.id, runner = %job.runner, "removing an orphaned payload");
            return Ok(delete(ledger, &payload).await?);
        }
        tracing::error!(job = job.id, runner = %job.runner, "its record never came: ending it");
        let why = "the manager that received it was lost before it had written it down";
        let record = ended_unseen(round.picture.now, why)?;
        establish(ledger, &Key::record(job), record).await?;
        Ok(())
    }

    /// Ends jobs whose records have been unreadable for so long that GitLab must have ended them by
    /// their time limits. Frees their places and removes their objects.
    pub(super) async fn end_unreadable(&mut self, round: &mut Round) -> Result<(), RoundError> {
        let steady = self.context.clock.steady();
        for (job, etag) in round.picture.aside.records.clone() {
            let key = Key::record(&job);
            let unread_for = self.memory.aside_for(key.as_str(), steady);
            if unread_for < LOOK_AT_UNREADABLE {
                continue;
            }
            self.beat.now();
            let ended = self.end_one_unreadable(round, &job, etag, unread_for).await;
            round.cleared(key.as_str(), ended)?;
        }
        Ok(())
    }

    async fn end_one_unreadable(
        &self,
        round: &Round,
        job: &JobKey,
        etag: ETag,
        unread_for: Duration,
    ) -> Result<(), RoundError> {
        let raw = self.payloads.raw(job).await?;
        let limit = raw.and_then(|raw| AssignedJob::parse(raw).ok());
        let limit = limit.map_or(DEFAULT_TIMEOUT, |assigned| timeout_of(&assigned.job));
        if unread_for < limit + self.context.timing.takeover * 2 {
            return Ok(());
        }
        tracing::error!(job = job.id, runner = %job.runner, "its record can't be read: ending it");
        let value = ended_unseen(
            round.picture.now,
            "its record in the stack's bucket can't be read",
        )?;
        let old = Stored {
            value: value.clone(),
            etag,
        };
        let key = Key::record(job);
        let replaced = replace(&*self.context.ledger, &key, &old, value).await?;
        replaced
            .map(drop)
            .ok_or_else(|| RoundError::Refused(key.to_string()))
    }

    /// Terminates workers whose order is malformed: the leader can't change it and the worker can't
    /// read it. Once their instances are gone, their jobs are judged by their states.
    fn evict_the_unreadable(&self, round: &Round) {
        let steady = self.context.clock.steady();
        for (id, worker) in round.picture.workers() {
            let instance = worker.instance.as_ref();
            let live = instance.filter(|instance| instance.state.is_live());
            let (Some(instance), Some(runner)) = (live, &worker.runner) else {
                continue;
            };
            let unread_for = self.memory.aside_for(Key::order(id).as_str(), steady);
            if worker.order.is_malformed()
                && unread_for >= self.context.timing.takeover
                && let Some(fleet) = self.fleets.get(runner)
            {
                fleet.terminate(instance.id.clone(), "its order can't be read");
            }
        }
    }

    /// Removes payloads of attempts that nobody has any more. Whoever should have removed them has
    /// died, or a late write has brought them back.
    async fn remove_leftovers(
        &mut self,
        round: &mut Round,
        steady: Duration,
    ) -> Result<(), RoundError> {
        if !self.memory.is_time_for_leftovers(steady) {
            return Ok(());
        }
        let ledger = &*self.context.ledger;
        let listed = ledger.list(PAYLOADS).await?;
        let listed = listed.into_iter().map(|object| object.key);
        let unused = listed.filter(|key| {
            let parts = Key::parts_of_work(key);
            parts.is_some_and(|(worker, job, attempt)| {
                !round.picture.needs_work(&worker, job, attempt)
            })
        });
        let unused: HashSet<String> = unused.collect();
        for key in self.memory.see_leftovers(&unused, steady) {
            self.beat.now();
            tracing::info!(object = key, "removing what was laid ready for nobody");
            let removed = ledger.delete(&key).await;
            round.cleared(&key, removed.map_err(RoundError::from))?;
        }
        Ok(())
    }

    /// Removes what was kept of finished jobs, once it is old enough. On S3 the bucket's lifecycle
    /// rule does this too. It costs one listing now and then and reads nothing.
    async fn remove_past(&mut self, round: &mut Round, steady: Duration) -> Result<(), RoundError> {
        if !self.memory.is_time_for_the_past(steady) {
            return Ok(());
        }
        let ledger = &*self.context.ledger;
        let listed = ledger.list(PAST).await?;
        let keys: HashSet<String> = listed.into_iter().map(|object| object.key).collect();
        for key in self.memory.see_the_past(&keys, steady) {
            self.beat.now();
            let removed = ledger.delete(&key).await;
            round.cleared(&key, removed.map_err(RoundError::from))?;
        }
        Ok(())
    }

    /// The last record of a job whose runner is not configured any more. Nobody can tell GitLab
    /// about it, and after its deadline nobody needs to. Its worker has had the time to end it.
    pub(super) fn dropped(
        &self,
        job: &JobKey,
        record: &Record,
        now: Timestamp,
    ) -> Result<Option<Record>, RoundError> {
        let margin = SignedDuration::try_from(self.context.timing.takeover * 2);
        let late = record.deadline + margin.unwrap_or(SignedDuration::ZERO);
        if self.runner_context(&job.runner).is_some() || now < late {
            return Ok(None);
        }
        let judged = match &record.phase {
            Phase::Waiting | Phase::Assigned { .. } => {
                let why = "its runner is not configured any more";
                record.finishing(Verdict::failed("runner_system_failure", why), now)?
            }
            Phase::Finishing { .. } => record.clone(),
            Phase::Done { .. } => return Ok(None),
        };
        tracing::warn!(job = job.id, runner = %job.runner, "dropping a job of an unknown runner");
        Ok(Some(judged.done(now)?))
    }

    /// Releases order entries whose record has left the attempt or is gone.
    async fn release_order(&self, round: &mut Round, worker: &WorkerId) -> Result<(), RoundError> {
        let picture = &round.picture;
        let known = picture.worker(worker);
        // An order that could not be read now can't be changed.
        let known = known.filter(|known| !known.has_unknown_order());
        let Some(order) = known.and_then(|known| known.order.value()) else {
            return Ok(());
        };
        let is_released = |id: u64| {
            let job = JobKey::new(&order.runner, id);
            let record = picture.records().get(&job);
            !picture.aside.jobs.contains(&job)
                && record.is_none_or(|record| record.value.releases(worker, order, id))
        };
        let released: Vec<(u64, u32)> = order
            .entries
            .iter()
            .filter(|(id, _)| is_released(**id))
            .map(|(id, entry)| (*id, entry.attempt))
            .collect();
        if released.is_empty() {
            return Ok(());
        }
        self.write_order(round, worker, |order| {
            released
                .iter()
                .fold(order.clone(), |order, (id, _)| order.released(*id))
        })
        .await?;
        for (id, attempt) in released {
            delete(&*self.context.ledger, &Key::work(worker, id, attempt)).await?;
        }
        Ok(())
    }

    /// Jobs that are over and that no order names any more.
    fn done_and_released(round: &Round) -> Vec<(JobKey, Record)> {
        let picture = &round.picture;
        let orders = picture
            .workers()
            .filter_map(|(_, worker)| worker.order.value());
        let named: HashSet<(&RunnerName, u64)> = orders
            .flat_map(|order| order.entries.keys().map(|id| (&order.runner, *id)))
            .collect();
        let done = picture.records().iter().filter(|(job, record)| {
            let Phase::Done { worker, .. } = &record.value.phase else {
                return false;
            };
            // An order that could not be read now may still name it.
            let worker = worker.as_ref().and_then(|worker| picture.worker(worker));
            let known = worker.is_none_or(|worker| !worker.has_unknown_order());
            let is_named = named.contains(&(&job.runner, job.id));
            known && !picture.aside.jobs.contains(job) && !is_named
        });
        done.map(|(job, record)| (job.clone(), record.value.clone()))
            .collect()
    }

    /// The record goes last, so that a removal that was interrupted is begun again.
    async fn remove_done(
        &self,
        round: &mut Round,
        job: &JobKey,
        record: Record,
    ) -> Result<(), RoundError> {
        let ledger = &*self.context.ledger;
        let past = PastJob {
            job: job.clone(),
            record,
        };
        let key = Key::past(job);
        // An earlier removal may have written it. A malformed one counts as written too.
        let kept = match establish(ledger, &key, past).await {
            Err(Error::Malformed { .. }) => true,
            answer => answer?.is_some(),
        };
        if !kept {
            return Err(RoundError::Refused(key.to_string()));
        }
        delete(ledger, &Key::job_payload(job)).await?;
        delete(ledger, &Key::record(job)).await?;
        round.picture.remove_record(job);
        Ok(())
    }

    /// The workers that will never report again and whose jobs have moved on.
    fn gone_workers(&self, round: &Round) -> Vec<WorkerId> {
        let picture = &round.picture;
        // A record that could not be read may belong to a job whose result is in one of the states.
        let mut aside = picture.aside.jobs.iter();
        let is_unread = |job: &JobKey| !picture.records().contains_key(job);
        if !picture.aside.records.is_empty() || aside.any(is_unread) {
            return Vec::new();
        }
        let is_gone = |worker: &Worker| match &worker.runner {
            Some(runner) if !picture.fleets.contains_key(runner) => {
                worker.silent_for >= FORGET_STRANGERS
            }
            _ => worker.is_gone(self.context.timing.takeover),
        };
        let gone = picture
            .workers()
            .filter(|(_, worker)| worker.is_named() && worker.jobs.is_empty() && is_gone(worker));
        gone.map(|(id, _)| id.clone()).collect()
    }

    /// Removes all objects of a worker that is gone.
    async fn remove_gone_worker(
        &self,
        round: &mut Round,
        worker: &WorkerId,
    ) -> Result<(), RoundError> {
        let ledger = &*self.context.ledger;
        for (job, attempt) in work_of(ledger, worker).await? {
            delete(ledger, &Key::work(worker, job, attempt)).await?;
        }
        delete(ledger, &Key::state(worker)).await?;
        delete(ledger, &Key::order(worker)).await?;
        round.picture.remove_worker(worker);
        Ok(())
    }
}

/// The record that ends a job on which nobody works.
fn ended_unseen(now: Timestamp, why: &str) -> Result<Record, RoundError> {
    let record = Record::received(JobLabel::default(), Restart::Never, now, now);
    let verdict = Verdict::failed("runner_system_failure", why);
    Ok(record.finishing(verdict, now)?)
}
