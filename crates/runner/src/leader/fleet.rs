//! The leader's instances: observes them every few seconds, launches and terminates them.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use onspot_fleet::{Boots, Instance, InstanceId, Lifecycle, Pool, Pools};
use onspot_ledger::{RunnerName, WorkerId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::capacity::Capacity;
use crate::clock::Clock;

mod boots;
mod launches;

use launches::Launches;

/// How long EC2 must deny an instance that the ledger does not know either before the leader
/// forgets it. EC2 may deny a new instance for a while after its launch.
const FORGET: Duration = Duration::from_mins(5);

/// The instances of one `[[runners]]`, shared between the observer, the launches and the rounds.
pub(crate) struct Fleet {
    runner: RunnerName,
    capacity: Arc<dyn Capacity>,
    clock: Clock,
    wake: Arc<Notify>,
    /// Asks the observer to look before the next look is due.
    look_now: Notify,
    known: Mutex<Known>,
    /// Cancelled when this manager no longer leads.
    over: CancellationToken,
}

#[derive(Default)]
struct Known {
    /// The unique id of the workers' role.
    role_id: String,
    /// Whether any look has been answered yet.
    looked: bool,
    instances: BTreeMap<WorkerId, Instance>,
    /// The workers that the ledger named in the last round.
    named: BTreeSet<WorkerId>,
    /// Since when EC2 denies the instance in a look-up by id.
    unknown: BTreeMap<WorkerId, Duration>,
    candidates: Vec<Pool>,
    pools: Pools,
    boots: Boots,
    /// The workers that had ever reported by the last round; `None` before the first round.
    reported: Option<Arc<BTreeSet<WorkerId>>>,
    /// The version of the launch template that was seen last.
    template: Option<i64>,
    template_looked_at: Option<Duration>,
    launches: Launches,
    not_before: Duration,
    terminated: HashMap<InstanceId, Duration>,
    /// Instances that the next call terminates.
    ending: Vec<InstanceId>,
}

/// The instances as a round sees them.
#[derive(Debug, Clone, Default)]
pub(crate) struct FleetStatus {
    pub instances: BTreeMap<WorkerId, Instance>,
    pub candidates: Vec<Pool>,
    pub pools: Pools,
    pub boots: Boots,
    /// Whether a launch request has no answer yet, so that it may or may not have been carried out.
    pub in_doubt: bool,
    /// Instances that are being launched and have no id yet.
    pub launching: Vec<(u32, Lifecycle)>,
    looked: bool,
    unknown: BTreeSet<WorkerId>,
}

impl FleetStatus {
    #[cfg(test)]
    pub(crate) fn looked() -> Self {
        Self {
            looked: true,
            ..Self::default()
        }
    }

    /// Whether the instances have ever been observed.
    pub(crate) fn was_looked_at(&self) -> bool {
        self.looked
    }

    /// Whether EC2 denies this worker's instance in a look-up by id.
    pub(crate) fn has_lost(&self, worker: &WorkerId) -> bool {
        self.unknown.contains(worker)
    }
}

impl Fleet {
    pub(crate) fn new(
        runner: RunnerName,
        role_id: &str,
        capacity: Arc<dyn Capacity>,
        clock: Clock,
        wake: Arc<Notify>,
    ) -> Arc<Self> {
        Arc::new(Self {
            runner,
            capacity,
            clock,
            wake,
            look_now: Notify::new(),
            known: Mutex::new(Known {
                role_id: role_id.to_owned(),
                ..Known::default()
            }),
            over: CancellationToken::new(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing below panics halfway through a change.
        self.known.lock()
    }

    /// What is known now.
    pub(crate) fn status(&self) -> FleetStatus {
        self.known().status()
    }

    /// Records which workers the ledger names. EC2 is asked by id about each that is missing in its
    /// list.
    pub(crate) fn heard_of(&self, workers: BTreeSet<WorkerId>) {
        self.known().named = workers;
    }

    /// Looks every `interval` until stopped.
    pub(crate) async fn watch(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    self.over.cancel();
                    return;
                }
                _ = ticks.tick() => {}
                () = self.look_now.notified() => {}
            }
            self.look().await;
            self.look_at_template().await;
        }
    }

    /// Looks once: lists the instances, and looks up by id those that are missing in the list.
    async fn look(&self) {
        if self.known().candidates.is_empty() {
            match self.capacity.pools().await {
                Ok(pools) => self.known().candidates = pools,
                Err(error) => tracing::warn!(runner = %self.runner, %error, "no list of pools"),
            }
        }
        let listed = match self.capacity.observe().await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(runner = %self.runner, %error, "the workers could not be looked at");
                return;
            }
        };
        let listed = self.known().by_worker(listed);
        let missing = self.known().missing(&listed);
        let found = self.look_up(missing).await;
        let ended = self.known().ended_unheard(&listed, &found);
        if self.known().observed(listed, found, self.clock.steady()) {
            self.wake.notify_one();
        }
        self.look_into(ended).await;
    }

    /// EC2's answer about each of these workers' instances; those that could not be looked up are
    /// left out.
    async fn look_up(&self, workers: Vec<WorkerId>) -> Vec<(WorkerId, Option<Instance>)> {
        if workers.is_empty() {
            return Vec::new();
        }
        let instances = workers
            .iter()
            .map(|worker| InstanceId::new(worker.instance()));
        let found = match self.capacity.look_up(instances.collect()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(runner = %self.runner, %error, "missing workers could not be looked up");
                return Vec::new();
            }
        };
        let mut found: HashMap<InstanceId, Option<Instance>> = found.into_iter().collect();
        let found = workers.into_iter().filter_map(|worker| {
            let instance = found.remove(&InstanceId::new(worker.instance()))?;
            Some((worker, instance))
        });
        found.collect()
    }
}

impl Known {
    fn status(&self) -> FleetStatus {
        FleetStatus {
            instances: self.instances.clone(),
            candidates: self.candidates.clone(),
            pools: self.pools.clone(),
            boots: self.boots.clone(),
            in_doubt: self.launches.in_doubt(),
            launching: self.launches.on_their_way(),
            looked: self.looked,
            unknown: self.unknown.keys().cloned().collect(),
        }
    }

    /// The worker on an instance.
    fn worker(&self, instance: &InstanceId) -> WorkerId {
        WorkerId::of(&self.role_id, instance.as_str())
    }

    fn by_worker(&self, instances: Vec<Instance>) -> BTreeMap<WorkerId, Instance> {
        let named = instances.into_iter();
        named
            .map(|instance| (self.worker(&instance.id), instance))
            .collect()
    }

    /// The workers that should be listed but are not. Terminated ones are left out, because they
    /// stay terminated.
    fn missing(&self, listed: &BTreeMap<WorkerId, Instance>) -> Vec<WorkerId> {
        let over = |worker: &WorkerId| {
            let instance = self.instances.get(worker);
            instance.is_some_and(|instance| instance.state.is_gone())
        };
        let known: BTreeSet<&WorkerId> = self.instances.keys().chain(&self.named).collect();
        let missing = known
            .into_iter()
            .filter(|worker| !listed.contains_key(worker) && !over(worker));
        missing.cloned().collect()
    }

    /// Records EC2's list, and the look-ups of instances that are missing in it. Returns whether
    /// anything changed.
    fn observed(
        &mut self,
        listed: BTreeMap<WorkerId, Instance>,
        found: Vec<(WorkerId, Option<Instance>)>,
        steady: Duration,
    ) -> bool {
        self.looked = true;
        let mut next = listed;
        let mut unknown = std::mem::take(&mut self.unknown);
        let known_before: Vec<WorkerId> = unknown.keys().cloned().collect();
        unknown.retain(|worker, _| !next.contains_key(worker));
        for (worker, instance) in found {
            match instance {
                Some(instance) => {
                    unknown.remove(&worker);
                    // An instance of another runner is ignored here, but it is not gone.
                    if self.worker(&instance.id) == worker {
                        next.insert(worker, instance);
                    }
                }
                None => drop(unknown.entry(worker).or_insert(steady)),
            }
        }
        // A known instance that is not listed stays until EC2 answers a look-up of it.
        for (worker, instance) in &self.instances {
            let forgotten = match unknown.get(worker) {
                Some(since) => steady.saturating_sub(*since) >= FORGET,
                None => instance.state.is_gone(),
            };
            if !next.contains_key(worker) && (self.named.contains(worker) || !forgotten) {
                next.insert(worker.clone(), instance.clone());
            }
        }
        unknown.retain(|worker, _| next.contains_key(worker) || self.named.contains(worker));
        let changed = next != self.instances || !unknown.keys().eq(known_before.iter());
        (self.instances, self.unknown) = (next, unknown);
        changed
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
