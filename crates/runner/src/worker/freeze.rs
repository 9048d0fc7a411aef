//! What becomes of the jobs at the lease's end: they stand still until it is known whose they are.
//!
//! A worker can't tell an outage of S3 for all from one for it alone. In the second case the leader
//! takes its jobs over, so nothing of them may run on after the lease's end. But nothing has to be
//! killed yet. A job goes on only after a renewal of the state was stored (W1) *and* an order, asked
//! for after that, still says *run* (W2). Who takes over writes *revoked* (L1) and then reads the
//! state (L2, rule 11). Either L1 comes before W2, and the worker sees what it says; or W1 comes
//! before L2, and the leader sees that the worker lives, and waits until it gives the job up.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use onspot_executor::{ExecutorError, Stop};
use onspot_ledger::{AttemptPhase, Order};
use onspot_settings::Timing;

use super::notes::{Notes, Turn};
use super::{Agent, Running};

/// The longest that the executor is waited for: the agent does nothing else meanwhile.
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
    /// Makes all jobs stand still, as the lease has ended. What does not is killed. Results that
    /// only have to be told are put aside: they are resumed when the lease is renewed.
    pub(super) async fn freeze(&mut self) {
        let (now, limit) = (self.context.clock.steady(), self.freeze_limit());
        let state = self.keeper.state();
        let mut slots = Vec::new();
        for (&job, running) in &self.running {
            let attempt = state.jobs.get(&job).map(|attempt| &attempt.phase);
            if let Some(AttemptPhase::Result { .. } | AttemptPhase::Reported { .. }) = attempt {
                self.stop(job, Stop::Abort);
            } else if !running.is_being_killed() {
                // First: nothing more is written to GitLab either.
                let since = |frozen: &mut Option<Duration>| frozen.get_or_insert(now) == &now;
                running.frozen.send_if_modified(since);
                slots.push((job, running.slot));
            }
        }
        if self.notes.is_some() {
            // The watchdog freezes everything, also the helpers that wait for the next jobs.
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

    /// Lets the jobs go on that `order` still asks for. It was asked for in the tenure `asked_in`:
    /// after a renewal that was stored, and only if the lease has not ended again since.
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

    /// Thaws the slots that no job has: nothing of a job is in them, but the next one could not
    /// start. One that stays as it is gets no job, and is tried again at the next look.
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

/// What is not frozen within this time is killed, well before others may take the jobs over.
pub fn freeze_limit(timing: &Timing) -> Duration {
    (timing.takeover.saturating_sub(timing.lease) / 4).min(MOST)
}

/// Whether an attempt that may go on stands still in the slot.
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

/// Waits for the executor, but not for long; why it has not done what was asked of it.
async fn within(
    limit: Duration,
    asked: impl Future<Output = Result<(), ExecutorError>>,
) -> Result<(), String> {
    match tokio::time::timeout(limit, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}
