//! Workers of runners that no longer exist. The leader terminates them once their jobs are over.
//!
//! `onspot up` also terminates them when it removes a runner. This module handles those that were
//! still busy then, instances that appeared late, and tags that somebody has edited.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use onspot_fleet::{Instance, InstanceId};
use onspot_ledger::{RunnerName, WorkerId, has_work};
use tokio_util::sync::CancellationToken;

use super::chain;
use super::picture::{Picture, Worker};
use super::round::{Round, Rounds};
use crate::capacity::Capacity;
use crate::clock::Clock;

/// Between two looks for strays.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// How long a worker must have been a stray, because another manager, with newer settings, may lead
/// soon.
const GRACE: Duration = Duration::from_mins(15);

/// The strays of a stack.
pub(super) struct Strays {
    capacity: Option<Arc<dyn Capacity>>,
    runners: Vec<RunnerName>,
    clock: Clock,
    /// The time at which each was first seen.
    seen: Mutex<BTreeMap<InstanceId, Duration>>,
}

impl Strays {
    /// Looks for strays through `capacity`, which may be any runner's, because strays belong to
    /// none.
    pub(super) fn new(
        capacity: Option<Arc<dyn Capacity>>,
        runners: Vec<RunnerName>,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            runners,
            clock,
            seen: Mutex::default(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Duration>> {
        self.seen.lock()
    }

    /// Looks every few minutes until stopped.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let Some(capacity) = self.capacity.clone() else {
            return;
        };
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match capacity.strays(self.runners.clone()).await {
                Ok(found) => self.see(&found, self.clock.steady()),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "no look for stray workers");
                }
            }
        }
    }

    fn see(&self, found: &[Instance], steady: Duration) {
        let mut seen = self.seen();
        seen.retain(|known, _| found.iter().any(|instance| instance.id == *known));
        for instance in found {
            seen.entry(instance.id.clone()).or_insert(steady);
        }
    }

    /// Those that have been strays for long enough.
    fn old(&self, steady: Duration) -> Vec<InstanceId> {
        let seen = self.seen();
        let old = seen
            .iter()
            .filter(|(_, since)| steady.saturating_sub(**since) >= GRACE);
        old.map(|(instance, _)| instance.clone()).collect()
    }

    /// Terminates instances in the background. One that survives is seen again and terminated after
    /// another grace period.
    fn end(self: &Arc<Self>, instances: Vec<InstanceId>) {
        let Some(capacity) = self.capacity.clone().filter(|_| !instances.is_empty()) else {
            return;
        };
        tracing::warn!(?instances, "terminating workers that belong to no runner");
        self.seen().retain(|known, _| !instances.contains(known));
        tokio::spawn(async move {
            if let Err(error) = capacity.terminate(instances).await {
                tracing::warn!(error = %chain(&error), "stray workers could not be terminated");
            }
        });
    }
}

impl Rounds {
    /// Terminates strays that have no jobs any more.
    pub(super) fn end_strays(&self, round: &Round) {
        let old = self.strays.old(self.context.clock.steady());
        if old.is_empty() {
            return;
        }
        let picture = &round.picture;
        let workers = picture.workers();
        let named: HashMap<&str, (&WorkerId, &Worker)> = workers
            .map(|(id, worker)| (id.instance(), (id, worker)))
            .collect();
        let idle = old.into_iter().filter(|instance| {
            let worker = named.get(instance.as_str());
            worker.is_none_or(|(id, worker)| {
                !self.belongs(worker) && !self.is_at_work(picture, id, worker)
            })
        });
        self.strays.end(idle.collect());
    }

    /// Whether the ledger, or a look-up by id, says that it is a worker of a configured runner,
    /// whatever its tags say.
    fn belongs(&self, worker: &Worker) -> bool {
        let order = worker.order.value();
        let ordered = order.is_some_and(|order| self.context.runners.contains_key(&order.runner));
        ordered || worker.instance.is_some()
    }

    fn is_at_work(&self, picture: &Picture, id: &WorkerId, worker: &Worker) -> bool {
        // After this much silence it has lost its lease, and its jobs belong to others.
        if worker.has_reported() && worker.silent_for >= self.context.timing.takeover {
            return false;
        }
        // Its state can't be read, but it is alive.
        if worker.state.is_malformed() {
            return true;
        }
        let state = worker.state.value().map(|state| (id, state));
        let records = worker.jobs.iter();
        let records = records.map(|job| (job.id, &picture.records()[job].value));
        has_work(id.instance(), state, records)
    }
}
