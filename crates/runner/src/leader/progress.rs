//! Judges each job and writes the judgement down: one step per job and round.

use onspot_fleet::InstanceId;
use onspot_ledger::{
    Event, JobKey, Key, Order, Phase, Record, Step, Verdict, WorkPayload, WorkerId, WrongPhase,
    establish,
};

use super::round::{Round, RoundError, Rounds};
use super::takeover::{Judgement, WorkerStatus, judge};
use super::trace::News;

impl From<WrongPhase> for RoundError {
    fn from(wrong: WrongPhase) -> Self {
        // The record has another phase than planned, which has the same effect as a refused write.
        Self::Refused(wrong.to_string())
    }
}

impl Rounds {
    /// Judges every job that is not over.
    pub(super) async fn progress(&mut self, round: &mut Round) -> Result<(), RoundError> {
        let records = round.picture.records();
        self.waiting.retain(|job| {
            records
                .get(job)
                .is_some_and(|record| record.value.phase == Phase::Waiting)
        });
        let aside = &round.picture.aside.jobs;
        let exists = |job: &JobKey| records.contains_key(job) || aside.contains(job);
        self.reporter.retain(exists);
        self.payloads.retain(exists);
        let jobs: Vec<JobKey> = records.keys().cloned().collect();
        let over = jobs
            .iter()
            .filter(|job| self.waiting.news(job) == News::Over);
        let over: Vec<JobKey> = over.cloned().collect();
        self.waiting.dismiss(&over);
        for job in jobs {
            self.beat.now();
            let brought_on = self.bring_on(round, &job).await;
            round.judged(&job, brought_on)?;
        }
        self.end_unreadable(round).await
    }

    /// Moves one job one step forward.
    async fn bring_on(&mut self, round: &mut Round, job: &JobKey) -> Result<(), RoundError> {
        let record = round.picture.records()[job].value.clone();
        if let Some(next) = self.dropped(job, &record, round.picture.now)? {
            return self.write_record(round, job, next).await;
        }
        match &record.phase {
            Phase::Waiting => self.look_at_waiting(round, job, &record).await,
            Phase::Assigned { worker } => {
                let judgement = self.judgement(round, job, &record, worker);
                self.carry_out(round, job, &record, worker, judgement).await
            }
            Phase::Finishing { verdict, .. } => self.finish(round, job, &record, verdict).await,
            // See `clean_up`.
            Phase::Done { .. } => Ok(()),
        }
    }

    /// The leader ends a job that was cancelled while it waited (rule 14), once the record says so
    /// (rule 13).
    async fn look_at_waiting(
        &mut self,
        round: &mut Round,
        job: &JobKey,
        record: &Record,
    ) -> Result<(), RoundError> {
        if self.waiting.news(job) == News::Over {
            let mut next = record.finishing(Verdict::canceled(), round.picture.now)?;
            next.trace = self.waiting.hand_over(job).await;
            tracing::info!(job = job.id, runner = %job.runner, "canceled while waiting");
            return self.write_record(round, job, next).await;
        }
        // The payload is written before the record and removed after it, so a missing one is lost.
        if !round.picture.payloads.contains(job) {
            return self.end_without_payload(round, job, record).await;
        }
        Ok(())
    }

    /// Ends a waiting job that can never run because its payload is lost.
    pub(super) async fn end_without_payload(
        &mut self,
        round: &mut Round,
        job: &JobKey,
        record: &Record,
    ) -> Result<(), RoundError> {
        tracing::error!(job = job.id, runner = %job.runner, "its payload is lost: ending it");
        let why = "what GitLab sent for it is gone from the stack's bucket";
        let verdict = Verdict::failed("runner_system_failure", why);
        let mut next = record.finishing(verdict, round.picture.now)?;
        next.trace = self.waiting.hand_over(job).await;
        self.write_record(round, job, next).await
    }

    fn judgement(
        &self,
        round: &Round,
        job: &JobKey,
        record: &Record,
        worker: &WorkerId,
    ) -> Judgement {
        let Some(known) = round.picture.worker(worker) else {
            return Judgement::Keep;
        };
        // Without the state the job can't be judged, and without the order it can't be revoked. For
        // a terminated worker, the state is enough.
        let terminated = known.is_terminated();
        if known.state.is_unread() || known.has_unknown_order() && !terminated {
            return Judgement::Keep;
        }
        let order = known.order.value();
        let status = WorkerStatus {
            // A worker that EC2 merely does not know is taken over like a silent one, by rule 11,
            // unless there is no order in which to revoke its attempt.
            gone: terminated || order.is_none() && known.is_gone(self.context.timing.takeover),
            silent_for: known.silent_for,
            revoked_for: self.memory.revoked_for(
                worker,
                job.id,
                record.attempt,
                self.context.clock.steady(),
            ),
            unreadable: known.state.is_malformed(),
        };
        judge(
            job.id,
            record,
            order,
            known.state.value(),
            status,
            &self.context.timing,
            round.picture.now,
        )
    }

    async fn carry_out(
        &mut self,
        round: &mut Round,
        job: &JobKey,
        record: &Record,
        worker: &WorkerId,
        judgement: Judgement,
    ) -> Result<(), RoundError> {
        let (now, id, instance) = (round.picture.now, job.id, worker.instance());
        match judgement {
            Judgement::Keep => Ok(()),
            Judgement::Order => {
                let Some(work) = self.work_of(job, record).await? else {
                    // Whoever ends the job needs its token, and the payloads of its attempts are
                    // removed with them.
                    self.payloads.to_tell(job, record).await?;
                    // The job can't run anywhere without its payload. It is revoked as in rule 11,
                    // because an earlier leader may still be about to order it. Then it waits, and
                    // is ended.
                    let revoke = |order: &Order| order.revoked(id, record.attempt);
                    return self.write_order(round, worker, revoke).await;
                };
                self.write_run(round, job, record, worker, work).await
            }
            Judgement::Revoke { why } => {
                tracing::warn!(job = id, runner = %job.runner, worker = instance, why, "revoking");
                let revoke = |order: &Order| order.revoked(id, record.attempt);
                self.write_order(round, worker, revoke).await
            }
            Judgement::Evict => {
                self.evict(job, instance);
                Ok(())
            }
            Judgement::Confirm { verdict, steps } => {
                tracing::info!(job = id, runner = %job.runner, worker = instance,
                    ending = ?verdict.ending, "finished");
                let next = with_steps(record, steps, now).finishing(verdict, now)?;
                self.write_record(round, job, next.done(now)?).await
            }
            Judgement::Adopt { verdict, steps } => {
                tracing::warn!(job = id, runner = %job.runner, worker = instance,
                    "adopting the result of a worker that can't tell it");
                let next = with_steps(record, steps, now).finishing(verdict, now)?;
                self.write_record(round, job, next).await
            }
            Judgement::Retry { why, started } => {
                tracing::warn!(job = id, runner = %job.runner, worker = instance, why,
                    attempt = record.attempt, "the attempt is lost, the next one waits");
                let next = record.next_attempt(&why, started, None, now)?;
                self.write_record(round, job, next).await
            }
            Judgement::Fail {
                why,
                started,
                verdict,
            } => {
                tracing::warn!(job = id, runner = %job.runner, worker = instance, why,
                    "the attempt is lost, and there will be no other");
                let next = record.lost(&why, started, now)?.finishing(verdict, now)?;
                self.write_record(round, job, next).await
            }
        }
    }

    fn evict(&self, job: &JobKey, instance: &str) {
        if let Some(fleet) = self.fleets.get(&job.runner) {
            let why = "it does not give up what was taken back";
            fleet.terminate(InstanceId::new(instance), why);
        }
    }

    /// Tells GitLab the verdict in the record, and records when that is done.
    async fn finish(
        &mut self,
        round: &mut Round,
        job: &JobKey,
        record: &Record,
        verdict: &Verdict,
    ) -> Result<(), RoundError> {
        if self.reporter.has_reported(job) {
            return self
                .write_record(round, job, record.done(round.picture.now)?)
                .await;
        }
        if let Some(runner) = self.context.runners.get(&job.runner) {
            self.reporter
                .report(job, &runner.coordinator, verdict, record);
        }
        Ok(())
    }

    /// What a worker needs for the record's attempt; `None` if the payload is lost.
    async fn work_of(
        &self,
        job: &JobKey,
        record: &Record,
    ) -> Result<Option<WorkPayload>, RoundError> {
        let raw = self.payloads.raw(job).await?;
        Ok(raw.map(|raw| self.work(job, record, raw)))
    }

    pub(super) fn work(
        &self,
        job: &JobKey,
        record: &Record,
        raw: serde_json::Value,
    ) -> WorkPayload {
        let runner = self.runner_context(&job.runner);
        WorkPayload {
            attempt: record.attempt,
            deadline: record.deadline,
            trace: record.trace,
            losses: losses_of(record),
            short_token: runner.map_or(String::new(), |runner| runner.short_token.clone()),
            raw,
        }
    }

    /// Writes *run(attempt)*, with the payload before it.
    pub(super) async fn write_run(
        &self,
        round: &mut Round,
        job: &JobKey,
        record: &Record,
        worker: &WorkerId,
        work: WorkPayload,
    ) -> Result<(), RoundError> {
        let key = Key::work(worker, job.id, record.attempt);
        // An earlier round may have written it; that one is just as good.
        if establish(&*self.context.ledger, &key, work)
            .await?
            .is_none()
        {
            return Err(RoundError::Refused(key.to_string()));
        }
        self.write_order(round, worker, |order| order.asked(job.id, record.attempt))
            .await
    }
}

fn with_steps(record: &Record, steps: Vec<Step>, now: jiff::Timestamp) -> Record {
    record.noted(
        Event::Steps {
            attempt: record.attempt,
            steps,
        },
        now,
    )
}

/// How the earlier attempts were lost, for the trace.
fn losses_of(record: &Record) -> Vec<String> {
    record.losses().map(|(_, _, why)| why.to_owned()).collect()
}
