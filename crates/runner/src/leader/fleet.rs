//! What the leader knows of instances: looked at every few seconds, launched, given back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// How long EC2 has to say that it does not know an instance, which the ledger does not know either,
/// until nothing is remembered of it: EC2 learns of a new instance a while after its launch.
const FORGET: Duration = Duration::from_mins(5);

/// The instances of one `[[runners]]`, shared between the looking, the launching and the rounds.
pub(crate) struct Fleet {
    runner: RunnerName,
    capacity: Arc<dyn Capacity>,
    clock: Clock,
    wake: Arc<Notify>,
    /// Asks for a look before the next one is due.
    look_now: Notify,
    known: Mutex<Known>,
    /// Cancelled when this manager leads no more.
    over: CancellationToken,
}

#[derive(Default)]
struct Known {
    /// The unique id of the workers' role.
    role_id: String,
    /// Whether any look was answered yet.
    looked: bool,
    instances: BTreeMap<WorkerId, Instance>,
    /// The workers that the ledger names, as the last round has read it.
    named: BTreeSet<WorkerId>,
    /// Since when EC2 says, asked by its id, that there is no such instance.
    unknown: BTreeMap<WorkerId, Duration>,
    candidates: Vec<Pool>,
    pools: Pools,
    boots: Boots,
    /// The workers that have ever reported, as the last round has read it; `None` before one has.
    reported: Option<BTreeSet<WorkerId>>,
    /// The version of the launch template that was seen last, and when that was.
    template: Option<i64>,
    template_looked_at: Option<Duration>,
    launches: Launches,
    not_before: Duration,
    terminated: HashMap<InstanceId, Duration>,
    /// Instances that the next call gives back.
    ending: Vec<InstanceId>,
}

/// What a round sees of the instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct FleetStatus {
    pub instances: BTreeMap<WorkerId, Instance>,
    pub candidates: Vec<Pool>,
    pub pools: Pools,
    pub boots: Boots,
    /// Whether a request had no answer yet, and may have been made or not.
    pub in_doubt: bool,
    /// Instances that are being launched and have no name yet.
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

    /// Whether anything is known at all.
    pub(crate) fn was_looked_at(&self) -> bool {
        self.looked
    }

    /// Whether EC2 says, asked by its id, that there is no instance of this worker.
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
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub(crate) fn status(&self) -> FleetStatus {
        self.known().status()
    }

    /// Takes in which workers the ledger names: EC2 is asked about each that its list misses.
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

    /// Looks once: at the list, and by their ids at those that it misses.
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

    /// What EC2 says of each of these workers' instances; nothing of those that it could not be
    /// asked about.
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

    /// The workers that should be listed and are not. What is terminated stays so.
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

    /// Takes in what EC2 lists, and what it says of those that the list misses. Whether anything
    /// changed.
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
                    // Another runner's is nothing to us, but it is not gone.
                    if self.worker(&instance.id) == worker {
                        next.insert(worker, instance);
                    }
                }
                None => drop(unknown.entry(worker).or_insert(steady)),
            }
        }
        // One that is known and not listed stays until EC2 says what became of it.
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
