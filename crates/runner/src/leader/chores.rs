//! Clearing up: releases, removals, and what nobody refers to any more (rules 15 and 16).

use onspot_ledger::{JobKey, Key, PastJob, Phase, Record, RunnerName, WorkerId, create, delete};

use super::round::{Broken, Rounds, Turn};
use super::snapshot::work_of;

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
        Ok(())
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
        let known = turn
            .snapshot
            .orders
            .keys()
            .chain(turn.snapshot.states.keys());
        let gone: Vec<WorkerId> = known
            .filter(|worker| {
                // A state without an order is of whatever runner: gone when nobody lists it.
                let gone = match runner_of(worker) {
                    Some(runner) => turn.fleets.get(&runner).is_some_and(|f| f.is_gone(worker)),
                    None => turn.fleets.values().all(|fleet| fleet.is_gone(worker)),
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
            turn.snapshot.orders.remove(&worker);
        }
        Ok(())
    }
}
