//! What the leader knows of machines: looked at every few seconds, bought, given back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use onspot_fleet::{InstanceId, Lifecycle, Pool, PoolError, Pools};
use onspot_ledger::{RunnerName, WorkerId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::capacity::{Capacity, Machine, Purchase};
use crate::clock::Clock;

/// How long EC2 has to say that it does not know a machine, which the ledger does not know either,
/// until nothing is remembered of it: EC2 learns of a new instance a while after its launch.
const FORGET: Duration = Duration::from_mins(5);

/// How long a machine is not asked to be terminated a second time.
const TERMINATE_AGAIN: Duration = Duration::from_secs(30);

/// How long a failed purchase keeps the next one waiting.
const BUY_AGAIN: Duration = Duration::from_secs(10);

/// The machines of one `[[runners]]`, shared between the looking, the buying and the rounds.
pub(crate) struct Fleet {
    runner: RunnerName,
    capacity: Arc<dyn Capacity>,
    clock: Clock,
    wake: Arc<Notify>,
    /// Asks for a look before the next one is due.
    look_now: Notify,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Whether any look was answered yet.
    looked: bool,
    machines: BTreeMap<WorkerId, Machine>,
    /// The workers that the ledger names, as the last round has read it.
    named: BTreeSet<WorkerId>,
    /// Since when EC2 says, asked by its id, that there is no such instance.
    unknown: BTreeMap<WorkerId, Duration>,
    candidates: Vec<Pool>,
    pools: Pools,
    refused: Vec<PoolError>,
    trouble: Option<String>,
    /// Purchases on their way, by token.
    buying: BTreeMap<String, (u32, Lifecycle)>,
    not_before: Duration,
    bought: u64,
    terminated: HashMap<InstanceId, Duration>,
}

/// What a round sees of the machines.
#[derive(Debug, Clone, Default)]
pub(crate) struct FleetSight {
    pub machines: BTreeMap<WorkerId, Machine>,
    pub candidates: Vec<Pool>,
    pub pools: Pools,
    pub refused: Vec<PoolError>,
    pub trouble: Option<String>,
    /// Machines that are being bought and have no name yet.
    pub buying: Vec<(u32, Lifecycle)>,
    looked: bool,
    unknown: BTreeSet<WorkerId>,
}

impl FleetSight {
    /// Whether anything is known at all.
    pub(crate) fn was_looked_at(&self) -> bool {
        self.looked
    }

    /// Whether EC2 says that the worker's instance is terminated (rule 12). That it is missing
    /// from a list says nothing: lists lag behind, and go by tags.
    pub(crate) fn is_terminated(&self, worker: &WorkerId) -> bool {
        let machine = self.machines.get(worker);
        machine.is_some_and(|machine| machine.state.is_gone())
    }

    /// Whether nothing will be heard of the worker any more: its instance is terminated, or EC2
    /// does not know it by its id *and* its state has been the same for `takeover`. One without
    /// the other is no proof.
    pub(crate) fn is_gone(&self, worker: &WorkerId, silent: Duration, takeover: Duration) -> bool {
        self.is_terminated(worker) || self.unknown.contains(worker) && silent >= takeover
    }
}

impl Fleet {
    pub(crate) fn new(
        runner: RunnerName,
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
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing below panics halfway through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub(crate) fn sight(&self) -> FleetSight {
        let known = self.known();
        FleetSight {
            machines: known.machines.clone(),
            candidates: known.candidates.clone(),
            pools: known.pools.clone(),
            refused: known.refused.clone(),
            trouble: known.trouble.clone(),
            buying: known.buying.values().copied().collect(),
            looked: known.looked,
            unknown: known.unknown.keys().cloned().collect(),
        }
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
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.look_now.notified() => {}
            }
            self.look().await;
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
        let missing = self.known().missing(&listed);
        let found = self.look_up(missing).await;
        if self.known().observed(listed, found, self.clock.steady()) {
            self.wake.notify_one();
        }
    }

    /// What EC2 says of each of these workers' instances; nothing of those that it could not be
    /// asked about.
    async fn look_up(&self, workers: Vec<WorkerId>) -> Vec<(WorkerId, Option<Machine>)> {
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
        let mut found: HashMap<InstanceId, Option<Machine>> = found.into_iter().collect();
        let found = workers.into_iter().filter_map(|worker| {
            let machine = found.remove(&InstanceId::new(worker.instance()))?;
            Some((worker, machine))
        });
        found.collect()
    }

    /// Buys machines in the background, unless the last purchase failed just now.
    pub(crate) fn launch(self: &Arc<Self>, count: u32, lifecycle: Lifecycle, term: u64) {
        let purchase = {
            let mut known = self.known();
            if self.clock.steady() < known.not_before {
                return;
            }
            known.bought += 1;
            let token = format!(
                "onspot-{term}-{}-{}",
                known.bought,
                uuid::Uuid::new_v4().simple()
            );
            known.buying.insert(token.clone(), (count, lifecycle));
            let dry = known.pools.dry(self.clock.now());
            let avoid = dry.keys().map(|pool| (*pool).clone()).collect();
            Purchase {
                count,
                lifecycle,
                token,
                avoid,
            }
        };
        tracing::info!(runner = %self.runner, count, %lifecycle, "launching workers");
        let fleet = Arc::clone(self);
        tokio::spawn(async move { fleet.buy(purchase).await });
    }

    async fn buy(&self, purchase: Purchase) {
        let token = purchase.token.clone();
        let result = self.capacity.launch(purchase).await;
        let (now, steady) = (self.clock.now(), self.clock.steady());
        let mut known = self.known();
        known.buying.remove(&token);
        match result {
            Ok(purchased) => {
                known.trouble = None;
                for error in &purchased.errors {
                    tracing::warn!(runner = %self.runner, pool = %error.pool, code = error.code,
                        "EC2 has no capacity");
                    known.pools.note(error, now);
                }
                if purchased.machines.is_empty() {
                    known.not_before = steady + BUY_AGAIN;
                }
                for machine in purchased.machines {
                    tracing::info!(runner = %self.runner, worker = %machine.instance, "launched");
                    if let Some(pool) = &machine.pool {
                        known.pools.note_launched(pool);
                    }
                    known.machines.insert(machine.worker.clone(), machine);
                }
                known.refused = purchased.errors;
            }
            Err(error) => {
                tracing::warn!(runner = %self.runner, error = %chain(&error), "launch failed");
                known.trouble = Some(chain(&error));
                known.not_before = steady + BUY_AGAIN;
            }
        }
        drop(known);
        self.wake.notify_one();
    }

    /// Gives machines back in the background.
    pub(crate) fn terminate(self: &Arc<Self>, instance: InstanceId, why: &'static str) {
        let now = self.clock.steady();
        {
            let mut known = self.known();
            known
                .terminated
                .retain(|_, asked| now.saturating_sub(*asked) < TERMINATE_AGAIN);
            // The time of the first request stands, or there would never be a second one.
            if known.terminated.contains_key(&instance) {
                return;
            }
            known.terminated.insert(instance.clone(), now);
        }
        tracing::info!(runner = %self.runner, worker = %instance, why, "terminating");
        let fleet = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = fleet.capacity.terminate(vec![instance.clone()]).await {
                tracing::warn!(worker = %instance, %error, "could not be terminated yet");
                fleet.known().terminated.remove(&instance);
            }
            fleet.look_now.notify_one();
        });
    }
}

impl Known {
    /// The workers that should be listed and are not. What is terminated stays so.
    fn missing(&self, listed: &[Machine]) -> Vec<WorkerId> {
        let listed: HashSet<&WorkerId> = listed.iter().map(|machine| &machine.worker).collect();
        let over = |worker: &WorkerId| {
            let machine = self.machines.get(worker);
            machine.is_some_and(|machine| machine.state.is_gone())
        };
        let known: BTreeSet<&WorkerId> = self.machines.keys().chain(&self.named).collect();
        let missing = known
            .into_iter()
            .filter(|worker| !listed.contains(worker) && !over(worker));
        missing.cloned().collect()
    }

    /// Takes in what EC2 lists, and what it says of those that the list misses. Whether anything
    /// changed.
    fn observed(
        &mut self,
        listed: Vec<Machine>,
        found: Vec<(WorkerId, Option<Machine>)>,
        steady: Duration,
    ) -> bool {
        self.looked = true;
        let mut next: BTreeMap<WorkerId, Machine> = listed
            .into_iter()
            .map(|machine| (machine.worker.clone(), machine))
            .collect();
        let mut unknown = std::mem::take(&mut self.unknown);
        let known_before: Vec<WorkerId> = unknown.keys().cloned().collect();
        unknown.retain(|worker, _| !next.contains_key(worker));
        for (worker, machine) in found {
            match machine {
                // Another runner's: nothing to us, but it is not gone.
                Some(machine) if machine.worker != worker => drop(unknown.remove(&worker)),
                Some(machine) => {
                    unknown.remove(&worker);
                    next.insert(worker, machine);
                }
                None => drop(unknown.entry(worker).or_insert(steady)),
            }
        }
        // A machine that is known and not listed stays until EC2 says what became of it.
        for (worker, machine) in &self.machines {
            let forgotten = match unknown.get(worker) {
                Some(since) => steady.saturating_sub(*since) >= FORGET,
                None => machine.state.is_gone(),
            };
            if !next.contains_key(worker) && (self.named.contains(worker) || !forgotten) {
                next.insert(worker.clone(), machine.clone());
            }
        }
        unknown.retain(|worker, _| next.contains_key(worker) || self.named.contains(worker));
        let changed = next != self.machines || !unknown.keys().eq(known_before.iter());
        (self.machines, self.unknown) = (next, unknown);
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
mod tests;
