//! Carries out the schedule's actions.

use std::sync::Arc;

use onspot_fleet::{InstanceId, Reason, Scale};
use onspot_ledger::{JobKey, Order, RunnerName, Verdict, WorkerId};

use super::round::{Round, RoundError, Rounds};
use crate::schedule::Action;

impl Rounds {
    /// Carries out the schedule's actions; those that fail are left for the next round.
    pub(super) async fn act(
        &mut self,
        round: &mut Round,
        action: Action,
    ) -> Result<(), RoundError> {
        match action {
            Action::Assign { job, worker } => {
                let assigned = self.assign(round, &job, &worker).await;
                round.judged(&job, assigned)
            }
            Action::Fail { job, message } => {
                let failed = self.fail(round, &job, message).await;
                round.judged(&job, failed)
            }
            Action::Explain { job, text } => {
                let explained = self.explain(round, &job, &text).await;
                round.judged(&job, explained)
            }
            Action::Scale { runner, scale } => self.scale(round, &runner, scale).await,
        }
    }

    async fn scale(
        &mut self,
        round: &mut Round,
        runner: &RunnerName,
        scale: Scale<WorkerId>,
    ) -> Result<(), RoundError> {
        let fleet = self.fleets.get(runner);
        match scale {
            Scale::Drain { worker } => {
                let drained = self.drain(round, &worker).await;
                return round.served(&worker, drained);
            }
            Scale::Launch { count, lifecycle } => {
                if let Some(fleet) = fleet {
                    fleet.launch(count, lifecycle, self.term);
                }
            }
            Scale::Terminate { worker, reason } => {
                let (instance, why) = (InstanceId::new(worker.instance()), reason.to_string());
                match (fleet, reason) {
                    (Some(fleet), Reason::NeverReported) => fleet.never_reported(instance, &why),
                    (Some(fleet), Reason::Drained) => fleet.terminate(instance, &why),
                    (None, _) => {}
                }
            }
        }
        Ok(())
    }

    async fn fail(
        &mut self,
        round: &mut Round,
        job: &JobKey,
        message: String,
    ) -> Result<(), RoundError> {
        let Some(stored) = round.picture.records().get(job) else {
            return Ok(());
        };
        let verdict = Verdict::failed("runner_system_failure", message);
        let mut next = stored.value.finishing(verdict, round.picture.now)?;
        next.trace = self.waiting.hand_over(job).await;
        self.write_record(round, job, next).await
    }

    async fn drain(&mut self, round: &mut Round, worker: &WorkerId) -> Result<(), RoundError> {
        let order = round.picture.order(worker);
        if order.is_none_or(|order| order.value.drain) {
            return Ok(());
        }
        tracing::info!(worker = worker.instance(), "draining");
        self.write_order(round, worker, Order::drained).await
    }

    /// Writes into a waiting job's trace why it waits, and once how the previous attempt was lost.
    async fn explain(
        &mut self,
        round: &mut Round,
        job: &JobKey,
        text: &str,
    ) -> Result<(), RoundError> {
        let Some(runner) = self.context.runners.get(&job.runner) else {
            return Ok(());
        };
        let coordinator = Arc::clone(&runner.coordinator);
        let Some(record) = round.picture.records().get(job).map(|stored| &stored.value) else {
            return Ok(());
        };
        let trace = record.trace;
        // Earlier losses were told when they were the latest. The record says first that this one
        // is told, so that no other leader tells it again.
        let loss = record.untold_loss().map(|why| {
            let before = record.attempt.saturating_sub(1);
            format!("Attempt {before} failed: {why}.")
        });
        if loss.is_some() {
            let next = record.with_loss_told();
            self.write_record(round, job, next).await?;
        }
        self.waiting.explain(job, &coordinator, trace, loss, text);
        Ok(())
    }

    /// Assigning is two writes: the record first, then the order (rule 2).
    async fn assign(
        &mut self,
        round: &mut Round,
        job: &JobKey,
        worker: &WorkerId,
    ) -> Result<(), RoundError> {
        let Some(stored) = round.picture.records().get(job) else {
            return Ok(());
        };
        let record = stored.value.clone();
        let Some(raw) = self.payloads.raw(job).await? else {
            return self.end_without_payload(round, job, &record).await;
        };
        // From now on the worker is the trace's writer.
        let mark = self.waiting.hand_over(job).await;
        let record = record.assigned(worker, mark, round.picture.now)?;
        let waited = record
            .received_at
            .duration_until(round.picture.now)
            .as_millis();
        tracing::info!(job = job.id, runner = %job.runner, worker = worker.instance(),
            attempt = record.attempt, waited_ms = waited, "assigned");
        self.write_record(round, job, record.clone()).await?;
        let work = self.work(job, &record, raw);
        self.write_run(round, job, &record, worker, work).await
    }
}
