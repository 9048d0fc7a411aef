//! An agent's attempts: accepted into a slot, stopped, ended.

use std::sync::Arc;
use std::time::Duration;

use onspot_executor::Stop;
use tokio::sync::watch;

use super::job::{AttemptJob, Ended};
use super::{Agent, orders, result};

/// The slot of an attempt that needs none.
const NO_SLOT: usize = usize::MAX;

/// A running attempt, as the loop sees it.
pub(super) struct Running {
    pub(super) attempt: u32,
    /// [`NO_SLOT`] if only its result has to be reported.
    pub(super) slot: usize,
    /// When it was taken, on the steady clock.
    pub(super) taken: Duration,
    pub(super) stop: watch::Sender<Option<Stop>>,
    /// Since when it is frozen.
    pub(super) frozen: watch::Sender<Option<Duration>>,
}

impl Agent {
    /// All slots.
    pub(super) fn slots(&self) -> std::ops::Range<usize> {
        0..usize::try_from(self.context.slots).unwrap_or(usize::MAX)
    }

    /// Whether an attempt has the slot.
    pub(super) fn is_taken(&self, slot: usize) -> bool {
        self.running.values().any(|running| running.slot == slot)
    }

    /// Resumes results that were stored but may not have been reported, by a predecessor (rule 9:
    /// resumed at rule 7) or before the lease ended.
    pub(super) fn resume_results(&mut self, wanted: impl Fn(u64, u32) -> bool) {
        for (job, attempt, verdict) in orders::untold(&self.keeper.state()) {
            if self.running.contains_key(&job) || !wanted(job, attempt) {
                continue;
            }
            let (stop, stopped) = watch::channel(None);
            let context = Arc::clone(&self.context);
            let keeper = self.keeper.clone();
            self.running.insert(
                job,
                Running {
                    attempt,
                    slot: NO_SLOT,
                    taken: self.context.clock.steady(),
                    stop,
                    frozen: watch::Sender::new(None),
                },
            );
            self.tasks.spawn(async move {
                result::resume(&context, &keeper, job, attempt, &verdict, stopped).await;
                (job, Ended)
            });
        }
    }

    /// Accepts an attempt into a free slot. If none is ready, the next look at the order tries
    /// again.
    pub(super) fn accept(&mut self, job: u64, attempt: u32) {
        let free = |slot: &usize| !self.is_taken(*slot) && !self.to_thaw.contains(slot);
        let Some(slot) = self.slots().find(free) else {
            return;
        };
        let now = self.context.clock.now();
        tracing::info!(
            job,
            attempt,
            worker = self.context.id.instance(),
            "accepted"
        );
        self.keeper.store_soon(move |state| {
            state.accept(job, attempt, now);
        });
        let (stop, stopped) = watch::channel(None);
        let (frozen, still) = watch::channel(None);
        let taken = self.context.clock.steady();
        self.running.insert(
            job,
            Running {
                attempt,
                slot,
                taken,
                stop,
                frozen,
            },
        );
        let attempt = AttemptJob {
            context: Arc::clone(&self.context),
            keeper: self.keeper.clone(),
            job,
            attempt,
            slot,
            stop: stopped,
            frozen: still,
            stood_since: None,
            taken,
            lapses: self.keeper.lapses(),
        };
        self.tasks.spawn(async move { (job, attempt.run().await) });
    }

    /// Asks an attempt to stop, unless it was already asked to stop in this way or a more urgent
    /// one.
    pub(super) fn stop(&self, job: u64, how: Stop) {
        let Some(running) = self.running.get(&job) else {
            return;
        };
        running.stop.send_if_modified(|stop| {
            let tighter = match (*stop, how) {
                (None, _) | (Some(Stop::Cancel), Stop::Abort | Stop::Interrupt) => true,
                (Some(_), _) => false,
            };
            if tighter {
                tracing::info!(job, ?how, "stopping");
                *stop = Some(how);
            }
            tighter
        });
    }

    /// Asks all of them.
    pub(super) fn stop_all(&self, how: Stop) {
        for job in self.running.keys() {
            self.stop(*job, how);
        }
    }

    /// An attempt's task is over: its slot is free.
    pub(super) fn ended(&mut self, ended: Result<(u64, Ended), tokio::task::JoinError>) {
        match ended {
            Ok((job, Ended)) => {
                if let Some(running) = self.running.remove(&job)
                    && running.slot != NO_SLOT
                {
                    if running.stands_still() {
                        self.to_thaw.insert(running.slot);
                    }
                    self.warm(running.slot);
                }
            }
            // A task that panicked would leave its job "running" for ever, so the agent starts
            // anew.
            Err(error) => {
                tracing::error!(%error, "a job's task died");
                self.keeper.supersede();
            }
        }
    }

    /// Makes the slot's helper ready for the next job.
    pub(super) fn warm(&self, slot: usize) {
        let executor = Arc::clone(&self.context.executor);
        tokio::spawn(async move {
            if let Err(error) = executor.warm(slot).await {
                tracing::warn!(slot, %error, "no warm helper");
            }
        });
    }
}
