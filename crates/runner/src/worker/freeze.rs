//! Freezes the jobs at the lease's end until it is known who owns them.
//!
//! A worker can't distinguish an outage of S3 for everybody from one for itself alone. In the
//! second case the leader takes its jobs over, so they must not run after the lease's end, but they
//! need not be killed yet. A job continues only after a renewal of the state was stored (W1) *and*
//! an order that was requested after that still says *run* (W2). The leader takes over by writing
//! *revoked* (L1) and then reading the state (L2, rule 11). Either L1 comes before W2, and the
//! worker sees *revoked*; or W1 comes before L2, and the leader sees that the worker is alive and
//! waits until it gives the job up.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use onspot_executor::{Error as ExecutorError, Stop};
use onspot_ledger::{AttemptPhase, Order};
use onspot_settings::Timing;

use super::notes::{Notes, Turn};
use super::{Agent, Running};

/// The longest wait for the executor, because the agent does nothing else meanwhile.
const MOST: Duration = Duration::from_secs(15);

impl Running {
    /// Whether it was told to be killed.
    fn is_being_killed(&self) -> bool {
        matches!(*self.stop.borrow(), Some(Stop::Abort | Stop::Interrupt))
    }

    pub(super) fn stands_still(&self) -> bool {
        self.frozen.borrow().is_some()
    }
}

impl Agent {
    /// Freezes all jobs because the lease has ended, and kills those that can't be frozen. Results
    /// that only have to be reported are put aside and resumed when the lease is renewed.
    pub(super) async fn freeze(&mut self) {
        let (now, limit) = (self.context.clock.steady(), self.freeze_limit());
        let state = self.keeper.state();
        let mut slots = Vec::new();
        for (&job, running) in &self.running {
            let attempt = state.jobs.get(&job).map(|attempt| &attempt.phase);
            if let Some(AttemptPhase::Result { .. } | AttemptPhase::Reported { .. }) = attempt {
                self.stop(job, Stop::Abort);
            } else if !running.is_being_killed() {
                // This comes first, so that nothing more is written to GitLab either.
                let since = |frozen: &mut Option<Duration>| frozen.get_or_insert(now) == &now;
                running.frozen.send_if_modified(since);
                slots.push((job, running.slot));
            }
        }
        if self.notes.is_some() {
            // The watchdog freezes everything, including the helpers that wait for the next jobs.
            let idle = self.slots().filter(|slot| !still(&self.running, *slot));
            let idle: Vec<usize> = idle.collect();
            self.to_thaw.extend(idle);
        }
        let executor = &self.context.executor;
        let freezing = slots
            .into_iter()
            .map(|(job, slot)| async move { (job, within(limit, executor.freeze(slot)).await) });
        for (job, frozen) in join_all(freezing).await {
            match frozen {
                Ok(()) => tracing::warn!(job, "it stands still until the lease is renewed"),
                Err(why) => {
                    tracing::error!(job, why, "it does not stand still: killing it");
                    self.stop(job, Stop::Abort);
                }
            }
        }
    }

    /// Thaws the jobs that `order` still asks for. The order must have been requested after a
    /// stored renewal, in the tenure `asked_in`; if the lease has ended again since, nothing is
    /// thawed.
    pub(super) async fn thaw(&mut self, order: &Order, asked_in: Option<u64>) {
        let still = |running: &Running| running.stands_still() && !running.is_being_killed();
        let idle = self.to_thaw.iter().any(|slot| !self.is_taken(*slot));
        let waiting = idle || self.running.values().any(still);
        if !waiting || asked_in.is_none() || asked_in != self.keeper.tenure() {
            return;
        }
        let limit = self.freeze_limit();
        let turn = tokio::time::timeout(limit, turn(self.notes.as_ref())).await;
        let Ok(Ok(_turn)) = turn else {
            tracing::warn!("the watchdog has not made room yet: nothing goes on");
            return;
        };
        self.beat.now();
        // The watchdog may have taken its time.
        if asked_in != self.keeper.tenure() {
            return;
        }
        self.thaw_idle_slots(limit).await;
        self.beat.now();
        let killed = match &self.notes {
            Some(notes) => notes.killed().await,
            None => None,
        };
        let waiting = self
            .running
            .iter()
            .filter(|(job, running)| still(running) && order.runs(**job, running.attempt));
        let executor = &self.context.executor;
        let thawing = waiting.map(|(&job, running)| async move {
            if killed.is_some_and(|killed| killed >= running.taken) {
                return (job, Err("the watchdog has killed it".to_owned()));
            }
            (job, within(limit, executor.thaw(running.slot)).await)
        });
        for (job, thawed) in join_all(thawing).await {
            match thawed {
                Ok(()) => {
                    tracing::warn!(job, "the lease was renewed in time: it goes on");
                    if let Some(running) = self.running.get(&job) {
                        running.frozen.send_replace(None);
                    }
                }
                Err(why) => {
                    tracing::error!(job, why, "it can't go on: killing it");
                    self.stop(job, Stop::Abort);
                }
            }
        }
    }

    /// Thaws the slots without a job, in which the next job could not start otherwise. A slot that
    /// can't be thawed gets no job and is tried again at the next look at the order.
    async fn thaw_idle_slots(&mut self, limit: Duration) {
        let this = &*self;
        let idle = this.to_thaw.iter().filter(|slot| !this.is_taken(**slot));
        let thawing = idle.map(|&slot| async move {
            let thawed = within(limit, this.context.executor.thaw(slot)).await;
            if let Err(why) = &thawed {
                tracing::warn!(slot, why, "it stays frozen, and gets no job yet");
            }
            thawed.is_ok().then_some(slot)
        });
        for slot in join_all(thawing).await.into_iter().flatten() {
            self.to_thaw.remove(&slot);
        }
    }

    fn freeze_limit(&self) -> Duration {
        freeze_limit(&self.context.timing)
    }
}

/// The time limit for freezing. Jobs that are not frozen by then are killed, well before others may
/// take them over.
pub fn freeze_limit(timing: &Timing) -> Duration {
    (timing.takeover.saturating_sub(timing.lease) / 4).min(MOST)
}

/// Whether the slot holds a frozen attempt that may continue.
fn still(running: &BTreeMap<u64, Running>, slot: usize) -> bool {
    let mut there = running.values().filter(|running| running.slot == slot);
    there.any(Running::stands_still)
}

async fn turn(notes: Option<&Notes>) -> std::io::Result<Option<Turn>> {
    match notes {
        Some(notes) => notes.turn().await.map(Some),
        None => Ok(None),
    }
}

/// Waits for the executor with a time limit; returns why it has failed.
async fn within(
    limit: Duration,
    asked: impl Future<Output = Result<(), ExecutorError>>,
) -> Result<(), String> {
    match tokio::time::timeout(limit, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}
