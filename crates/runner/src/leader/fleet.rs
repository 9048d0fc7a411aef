//! What the leader knows of machines: looked at every few seconds, bought, given back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use onspot_fleet::{InstanceId, InstanceState, Lifecycle, Pool, PoolError, Pools};
use onspot_ledger::{RunnerName, WorkerId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::capacity::{Capacity, Machine, Purchase};
use crate::clock::Clock;

/// After so many looks without it, a machine that EC2 does not list is gone. One look is not
/// enough: EC2's lists lag behind.
const LOOKS: u64 = 3;

/// A new machine may be missing from EC2's lists for as many looks.
const LOOKS_WHEN_NEW: u64 = 15;

/// After so many looks without it, nothing is remembered of a machine.
const FORGET: u64 = 1000;

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
    /// How many looks were answered, but for extra ones: EC2's lists lag behind by a time, not by
    /// a number of looks.
    looks: u64,
    /// When the last of them was.
    looked_at: Duration,
    machines: BTreeMap<WorkerId, Machine>,
    /// The number of the last look that listed the machine, or of the last one before the ledger
    /// first named it.
    listed: HashMap<WorkerId, u64>,
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
    looks: u64,
    listed: HashMap<WorkerId, u64>,
}

impl FleetSight {
    /// Whether anything is known at all.
    pub(crate) fn was_looked_at(&self) -> bool {
        self.looks > 0
    }

    /// Whether the worker's instance is terminated for certain (rule 12).
    ///
    /// One that was never heard of is not: a round may take long, and others may have bought it
    /// since the machines were looked at.
    pub(crate) fn is_gone(&self, worker: &WorkerId) -> bool {
        if let Some(machine) = self.machines.get(worker) {
            return machine.state == InstanceState::Terminated;
        }
        let last = self.listed.get(worker);
        last.is_some_and(|last| self.looks >= last + LOOKS)
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
            looks: known.looks,
            listed: known.listed.clone(),
        }
    }

    /// Takes in which workers the ledger knows: from now on, looks that miss them count.
    pub(crate) fn heard_of<'a>(&self, workers: impl Iterator<Item = &'a WorkerId>) {
        let mut known = self.known();
        let looks = known.looks;
        for worker in workers {
            known.listed.entry(worker.clone()).or_insert(looks);
        }
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
            self.look(interval / 2).await;
        }
    }

    /// Looks once. The look counts if the last one that did is at least `apart` ago.
    async fn look(&self, apart: Duration) {
        if self.known().candidates.is_empty() {
            match self.capacity.pools().await {
                Ok(pools) => self.known().candidates = pools,
                Err(error) => tracing::warn!(runner = %self.runner, %error, "no list of pools"),
            }
        }
        match self.capacity.observe().await {
            Ok(machines) => {
                if self.known().observed(machines, self.clock.steady(), apart) {
                    self.wake.notify_one();
                }
            }
            Err(error) => {
                tracing::warn!(runner = %self.runner, %error, "the workers could not be looked at");
            }
        }
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
                    let listed_until = known.looks + LOOKS_WHEN_NEW;
                    known.listed.insert(machine.worker.clone(), listed_until);
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
    /// Takes in what EC2 lists. Whether anything changed.
    fn observed(&mut self, machines: Vec<Machine>, steady: Duration, apart: Duration) -> bool {
        if self.looks == 0 || steady.saturating_sub(self.looked_at) >= apart {
            self.looks += 1;
            self.looked_at = steady;
        }
        let looks = self.looks;
        let listed: BTreeMap<WorkerId, Machine> = machines
            .into_iter()
            .map(|machine| (machine.worker.clone(), machine))
            .collect();
        for worker in listed.keys() {
            let last = self.listed.entry(worker.clone()).or_default();
            *last = looks.max(*last);
        }
        self.listed.retain(|_, last| looks < *last + FORGET);
        // A machine that is known but not listed stays until enough looks have missed it.
        let mut next = listed;
        for (worker, machine) in &self.machines {
            let last = self.listed.get(worker).copied().unwrap_or_default();
            if !next.contains_key(worker) && looks < last + LOOKS {
                next.insert(worker.clone(), machine.clone());
            }
        }
        let changed = next != self.machines;
        self.machines = next;
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
