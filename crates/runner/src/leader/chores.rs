//! Clearing up: releases, removals, and what nobody refers to any more (rules 15 and 16).

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use onspot_ledger::key::PAST;
use onspot_ledger::{
    JobKey, Key, PastJob, Phase, Record, RunnerName, Verdict, WorkerId, create, delete,
};

use super::round::{Broken, Rounds, Turn};
use super::snapshot::work_of;

/// After so much silence a worker of a runner that is not configured any more is forgotten.
const FORGET_STRANGERS: Duration = Duration::from_hours(1);

impl Rounds {
    /// Releases, then removes: record *done* → order released → record deleted.
    pub(super) async fn tidy(&mut self, turn: &mut Turn) -> Result<(), Broken> {
        self.release_orders(turn).await?;
        self.remove_done(turn).await?;
        self.remove_gone_workers(turn).await?;
        let steady = self.context.clock.steady();
        for job in self.memory.orphans(steady) {
            tracing::warn!(job = job.id, runner = %job.runner, "removing an orphaned payload");
            delete(&*self.context.ledger, &Key::job_payload(&job)).await?;
        }
        self.remove_past(steady).await
    }

    /// What was kept of jobs that are over, for long enough. On S3 the bucket does it as well, so
    /// this is one listing now and then, and nothing is read.
    async fn remove_past(&mut self, steady: Duration) -> Result<(), Broken> {
        if !self.memory.is_time_for_the_past(steady) {
            return Ok(());
        }
        let ledger = &*self.context.ledger;
        let listed = ledger.list(PAST).await?;
        let keys: HashSet<String> = listed.into_iter().map(|object| object.key).collect();
        for key in self.memory.see_the_past(&keys, steady) {
            ledger.delete(&key).await?;
        }
        Ok(())
    }

    /// The last record of a job whose runner is not configured any more: nobody can tell GitLab
    /// about it, and past its time nobody needs to. Its worker has had the time to end it.
    pub(super) fn dropped(
        &self,
        job: &JobKey,
        record: &Record,
        now: Timestamp,
    ) -> Result<Option<Record>, Broken> {
        let margin = SignedDuration::try_from(self.context.timing.takeover * 2);
        let late = record.deadline + margin.unwrap_or(SignedDuration::ZERO);
        if self.seat(&job.runner).is_some() || now < late {
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

    /// Entries whose record has left the attempt, or has gone altogether.
    async fn release_orders(&self, turn: &mut Turn) -> Result<(), Broken> {
        let workers: Vec<WorkerId> = turn.snapshot.orders.keys().cloned().collect();
        for worker in workers {
            let order = &turn.snapshot.orders[&worker].value;
            let released: Vec<(u64, u32)> = order
                .entries
                .iter()
                .filter(|(id, _)| {
                    let job = JobKey::new(&order.runner, **id);
                    match turn.snapshot.records.get(&job) {
                        Some(record) => record.value.releases(&worker, order, **id),
                        None => true,
                    }
                })
                .map(|(id, entry)| (*id, entry.attempt))
                .collect();
            if released.is_empty() {
                continue;
            }
            self.write_order(turn, &worker, |order| {
                released
                    .iter()
                    .fold(order.clone(), |order, (id, _)| order.released(*id))
            })
            .await?;
            for (id, attempt) in released {
                delete(&*self.context.ledger, &Key::work(&worker, id, attempt)).await?;
            }
        }
        Ok(())
    }

    /// Jobs that are over and that no order names any more. The record goes last: a removal that
    /// was broken off is begun again.
    async fn remove_done(&self, turn: &mut Turn) -> Result<(), Broken> {
        let is_named = |job: &JobKey| {
            let mut orders = turn.snapshot.orders.values();
            orders.any(|order| {
                order.value.runner == job.runner && order.value.entries.contains_key(&job.id)
            })
        };
        let done: Vec<(JobKey, Record)> = turn
            .snapshot
            .records
            .iter()
            .filter(|(job, record)| {
                matches!(record.value.phase, Phase::Done { .. }) && !is_named(job)
            })
            .map(|(job, record)| (job.clone(), record.value.clone()))
            .collect();
        let ledger = &*self.context.ledger;
        for (job, record) in done {
            let past = PastJob {
                job: job.clone(),
                record,
            };
            // Refused if an earlier removal was broken off.
            create(ledger, &Key::past(&job), past).await?;
            delete(ledger, &Key::job_payload(&job)).await?;
            delete(ledger, &Key::record(&job)).await?;
            turn.snapshot.records.remove(&job);
        }
        Ok(())
    }

    /// Everything of workers whose instance is terminated and whose jobs have moved on.
    async fn remove_gone_workers(&self, turn: &mut Turn) -> Result<(), Broken> {
        let runner_of = |worker: &WorkerId| -> Option<RunnerName> {
            if let Some(order) = turn.snapshot.orders.get(worker) {
                return Some(order.value.runner.clone());
            }
            let mut fleets = turn.fleets.iter();
            fleets
                .find(|(_, f)| f.machines.contains_key(worker))
                .map(|(name, _)| name.clone())
        };
        let snapshot = &turn.snapshot;
        let states = snapshot.states.keys().chain(snapshot.unreadable.keys());
        let known = snapshot.orders.keys().chain(states);
        let gone: Vec<WorkerId> = known
            .filter(|worker| {
                // A state without an order is of whatever runner: gone when nobody lists it.
                let gone = match runner_of(worker) {
                    Some(runner) => match turn.fleets.get(&runner) {
                        Some(fleet) => self.is_gone(fleet, worker),
                        None => self.memory.silent_for(worker) >= FORGET_STRANGERS,
                    },
                    None => turn.fleets.values().all(|f| self.is_gone(f, worker)),
                };
                gone && !turn
                    .snapshot
                    .records
                    .values()
                    .any(|r| r.value.worker() == Some(worker))
            })
            .cloned()
            .collect();
        let ledger = &*self.context.ledger;
        for worker in gone {
            for (job, attempt) in work_of(ledger, &worker).await? {
                delete(ledger, &Key::work(&worker, job, attempt)).await?;
            }
            delete(ledger, &Key::state(&worker)).await?;
            delete(ledger, &Key::order(&worker)).await?;
            turn.snapshot.states.remove(&worker);
            turn.snapshot.unreadable.remove(&worker);
            turn.snapshot.orders.remove(&worker);
        }
        Ok(())
    }
}
