//! Bringing each job one step on: the judgements and the schedule's actions, written down.

use std::sync::Arc;

use onspot_fleet::{InstanceId, Reason};
use onspot_ledger::{
    Event, JobKey, Key, Order, Phase, Record, Step, Verdict, WorkPayload, WorkerId, WrongPhase,
    create, read,
};

use super::round::{Broken, Rounds, Turn};
use super::takeover::{Judgement, Sight, judge};
use super::trace::News;
use crate::schedule::Action;

impl From<WrongPhase> for Broken {
    fn from(wrong: WrongPhase) -> Self {
        // The plan was made from another phase than the record's: the same as a refusal.
        Self::Refused(wrong.to_string())
    }
}

impl Rounds {
    /// Judges every job that is not over.
    pub(super) async fn progress(&mut self, turn: &mut Turn) -> Result<(), Broken> {
        let records = &turn.snapshot.records;
        self.waiting.retain(|job| {
            records
                .get(job)
                .is_some_and(|record| record.value.phase == Phase::Waiting)
        });
        self.tellers.retain(|job| records.contains_key(job));
        let jobs: Vec<JobKey> = records.keys().cloned().collect();
        let over = jobs
            .iter()
            .filter(|job| self.waiting.news(job) == News::Over);
        let over: Vec<JobKey> = over.cloned().collect();
        self.waiting.dismiss(&over);
        for job in jobs {
            let record = turn.snapshot.records[&job].value.clone();
            if let Some(next) = self.dropped(&job, &record, turn.now)? {
                self.write_record(turn, &job, next).await?;
                continue;
            }
            match &record.phase {
                Phase::Waiting => self.look_at_waiting(turn, &job, &record).await?,
                Phase::Assigned { worker } => {
                    let judgement = self.judgement(turn, &job, &record, worker);
                    self.carry_out(turn, &job, &record, worker, judgement)
                        .await?;
                }
                Phase::Finishing { verdict, .. } => {
                    self.finish(turn, &job, &record, verdict).await?;
                }
                // See `tidy`.
                Phase::Done { .. } => {}
            }
        }
        Ok(())
    }

    /// A job that was cancelled while it waited is ended by the leader (rule 14), once that
    /// stands in the record (rule 13).
    async fn look_at_waiting(
        &mut self,
        turn: &mut Turn,
        job: &JobKey,
        record: &Record,
    ) -> Result<(), Broken> {
        if self.waiting.news(job) == News::Over {
            let mut next = record.finishing(Verdict::canceled(), turn.now)?;
            next.trace = self.waiting.hand_over(job).await;
            tracing::info!(job = job.id, runner = %job.runner, "canceled while waiting");
            self.write_record(turn, job, next).await?;
        }
        Ok(())
    }

    fn judgement(
        &self,
        turn: &Turn,
        job: &JobKey,
        record: &Record,
        worker: &WorkerId,
    ) -> Judgement {
        let order = turn.snapshot.orders.get(worker).map(|stored| &stored.value);
        let state = turn.snapshot.states.get(worker).map(|stored| &stored.value);
        let gone = turn.fleets.get(&job.runner).is_some_and(|fleet| {
            // One that EC2 only does not know is taken over as a silent one is, by rule 11,
            // unless there is no order in which its attempt could be revoked.
            fleet.is_terminated(worker) || order.is_none() && self.is_gone(fleet, worker)
        });
        let sight = Sight {
            gone,
            silent_for: self.memory.silent_for(worker),
            revoked_for: self.memory.revoked_for(
                worker,
                job.id,
                record.attempt,
                self.context.clock.steady(),
            ),
            unreadable: turn.snapshot.unreadable.contains_key(worker),
        };
        judge(
            job.id,
            record,
            order,
            state,
            sight,
            &self.context.timing,
            turn.now,
        )
    }

    async fn carry_out(
        &mut self,
        turn: &mut Turn,
        job: &JobKey,
        record: &Record,
        worker: &WorkerId,
        judgement: Judgement,
    ) -> Result<(), Broken> {
        let (now, id, instance) = (turn.now, job.id, worker.instance());
        match judgement {
            Judgement::Keep => Ok(()),
            Judgement::Order => self.write_run(turn, job, record, worker).await,
            Judgement::Revoke { why } => {
                tracing::warn!(job = id, runner = %job.runner, worker = instance, why, "revoking");
                let revoke = |order: &Order| order.revoked(id, record.attempt);
                self.write_order(turn, worker, revoke).await
            }
            Judgement::Evict => {
                self.evict(job, instance);
                Ok(())
            }
            Judgement::Confirm { verdict, steps } => {
                tracing::info!(job = id, runner = %job.runner, worker = instance,
                    ending = ?verdict.ending, "finished");
                let next = with_steps(record, steps, now).finishing(verdict, now)?;
                self.write_record(turn, job, next.done(now)?).await
            }
            Judgement::Adopt { verdict, steps } => {
                tracing::warn!(job = id, runner = %job.runner, worker = instance,
                    "adopting the result of a worker that can't tell it");
                let next = with_steps(record, steps, now).finishing(verdict, now)?;
                self.write_record(turn, job, next).await
            }
            Judgement::Retry { why, started } => {
                tracing::warn!(job = id, runner = %job.runner, worker = instance, why,
                    attempt = record.attempt, "the attempt is lost, the next one waits");
                let next = record.next_attempt(&why, started, None, now)?;
                self.write_record(turn, job, next).await
            }
            Judgement::Fail {
                why,
                started,
                verdict,
            } => {
                tracing::warn!(job = id, runner = %job.runner, worker = instance, why,
                    "the attempt is lost, and there will be no other");
                let next = record.lost(&why, started, now)?.finishing(verdict, now)?;
                self.write_record(turn, job, next).await
            }
        }
    }

    fn evict(&self, job: &JobKey, instance: &str) {
        if let Some(fleet) = self.fleets.get(&job.runner) {
            let why = "it does not give up what was taken back";
            fleet.terminate(InstanceId::new(instance), why);
        }
    }

    /// Tells GitLab what stands in the record, and notes when that is done.
    async fn finish(
        &mut self,
        turn: &mut Turn,
        job: &JobKey,
        record: &Record,
        verdict: &Verdict,
    ) -> Result<(), Broken> {
        if self.tellers.has_told(job) {
            return self.write_record(turn, job, record.done(turn.now)?).await;
        }
        if let Some(seat) = self.context.runners.get(&job.runner) {
            let coordinator = Arc::clone(&seat.coordinator);
            // A worker's own result is in the trace already, as far as the trace goes.
            let explain = verdict.exit_code.is_none();
            self.tellers
                .tell(job, &coordinator, verdict, record.trace, explain);
        }
        Ok(())
    }

    /// Does what the schedule says.
    pub(super) async fn act(&mut self, turn: &mut Turn, action: Action) -> Result<(), Broken> {
        match action {
            Action::Assign { job, worker } => self.assign(turn, &job, &worker).await?,
            Action::Fail { job, message } => {
                let Some(stored) = turn.snapshot.records.get(&job) else {
                    return Ok(());
                };
                let verdict = Verdict::failed("runner_system_failure", message);
                let mut next = stored.value.finishing(verdict, turn.now)?;
                next.trace = self.waiting.hand_over(&job).await;
                self.write_record(turn, &job, next).await?;
            }
            Action::Explain { job, text } => self.explain(turn, &job, &text),
            Action::Launch {
                runner,
                count,
                lifecycle,
            } => {
                if let Some(fleet) = self.fleets.get(&runner) {
                    fleet.launch(count, lifecycle, self.term);
                }
            }
            Action::Drain { worker } => {
                let order = turn.snapshot.orders.get(&worker);
                if order.is_some_and(|order| !order.value.drain) {
                    tracing::info!(worker = worker.instance(), "draining");
                    self.write_order(turn, &worker, Order::drained).await?;
                }
            }
            Action::Terminate {
                runner,
                instance,
                reason,
            } => {
                if let Some(fleet) = self.fleets.get(&runner) {
                    let why = reason.to_string();
                    match reason {
                        Reason::NeverReported => fleet.never_reported(instance, &why),
                        Reason::Drained => fleet.terminate(instance, &why),
                    }
                }
            }
        }
        Ok(())
    }

    fn explain(&mut self, turn: &Turn, job: &JobKey, text: &str) {
        let Some(seat) = self.context.runners.get(&job.runner) else {
            return;
        };
        let record = &turn.snapshot.records[job].value;
        // Earlier losses were told when they were the last ones.
        let loss = losses_of(record).pop().map(|why| {
            format!(
                "Attempt {} failed: {why}.",
                record.attempt.saturating_sub(1)
            )
        });
        self.waiting
            .explain(job, &seat.coordinator, record.trace, loss, text);
    }

    /// Assigning is two writes: the record first, then the order (rule 2).
    async fn assign(
        &mut self,
        turn: &mut Turn,
        job: &JobKey,
        worker: &WorkerId,
    ) -> Result<(), Broken> {
        // From now on the worker is the trace's writer.
        let mark = self.waiting.hand_over(job).await;
        let Some(stored) = turn.snapshot.records.get(job) else {
            return Ok(());
        };
        let record = stored.value.assigned(worker, mark, turn.now)?;
        let waited = record.received_at.duration_until(turn.now).as_millis();
        tracing::info!(job = job.id, runner = %job.runner, worker = worker.instance(),
            attempt = record.attempt, waited_ms = waited, "assigned");
        self.write_record(turn, job, record.clone()).await?;
        self.write_run(turn, job, &record, worker).await
    }

    /// Writes *run(attempt)*, with the payload before it.
    async fn write_run(
        &self,
        turn: &mut Turn,
        job: &JobKey,
        record: &Record,
        worker: &WorkerId,
    ) -> Result<(), Broken> {
        let ledger = &*self.context.ledger;
        let payload = Key::job_payload(job);
        let Some(raw) = read(ledger, &payload).await? else {
            // Removed with the record of a job that is over: the round is out of date.
            return Err(Broken::Refused(payload.to_string()));
        };
        let work = WorkPayload {
            attempt: record.attempt,
            deadline: record.deadline,
            trace: record.trace,
            losses: losses_of(record),
            short_token: self
                .seat(&job.runner)
                .map_or(String::new(), |s| s.short_token.clone()),
            raw: raw.value.raw,
        };
        // A refusal means that an earlier round has written it.
        create(ledger, &Key::work(worker, job.id, record.attempt), work).await?;
        self.write_order(turn, worker, |order| order.asked(job.id, record.attempt))
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

/// What became of the earlier attempts, for the trace.
fn losses_of(record: &Record) -> Vec<String> {
    record.losses().map(|(_, _, why)| why.to_owned()).collect()
}
