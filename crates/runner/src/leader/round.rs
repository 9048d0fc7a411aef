//! One round: read, judge, write against what was read, schedule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use onspot_ledger::{
    Error, JobKey, Key, Order, Record, RunnerName, Stored, WorkerId, create, replace,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::fleet::{Fleet, FleetSight};
use super::memory::Memory;
use super::permits::Permits;
use super::snapshot::{Reader, Snapshot};
use super::strays::Strays;
use super::tell::Tellers;
use super::trace::WaitingRoom;
use super::view::Sights;
use super::{LeaderContext, Seat, chain};
use crate::schedule::{Action, View, intake, obstacle, schedule};

/// How long after a round that failed the next one begins.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// With no job and no worker about, rounds are this many times rarer: reading costs money.
const IDLE_FACTOR: u32 = 5;

/// Why a round ended early. Rule 4: the plan is dropped, and the round begun again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// Somebody else wrote.
    #[error("{0} was written by somebody else meanwhile")]
    Refused(String),
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] Error),
}

/// The rounds of one term.
pub(crate) struct Rounds {
    pub(super) context: Arc<LeaderContext>,
    pub(super) term: u64,
    pub(super) fleets: BTreeMap<RunnerName, Arc<Fleet>>,
    permits: Permits,
    wake: Arc<Notify>,
    reader: Reader,
    pub(super) memory: Memory,
    pub(super) waiting: WaitingRoom,
    pub(super) tellers: Tellers,
    pub(super) strays: Arc<Strays>,
    /// Tells what keeps each runner from launching workers.
    obstacles: watch::Sender<BTreeMap<RunnerName, String>>,
}

/// What one round works on.
pub(super) struct Turn {
    pub snapshot: Snapshot,
    pub fleets: BTreeMap<RunnerName, FleetSight>,
    pub now: Timestamp,
}

impl Rounds {
    pub(crate) fn new(
        context: Arc<LeaderContext>,
        term: u64,
        fleets: BTreeMap<RunnerName, Arc<Fleet>>,
        permits: Permits,
        wake: Arc<Notify>,
        obstacles: watch::Sender<BTreeMap<RunnerName, String>>,
    ) -> Self {
        let probe = context.timing.waiting_probe;
        let waiting = WaitingRoom::new(Arc::clone(&context.ledger), probe, Arc::clone(&wake));
        let tellers = Tellers::new(Arc::clone(&context.ledger), Arc::clone(&wake));
        let (reader, memory) = (Reader::default(), Memory::default());
        let any = context.runners.values().next();
        let strays = Strays::new(
            any.map(|seat| Arc::clone(&seat.capacity)),
            context.runners.keys().cloned().collect(),
            context.clock.clone(),
        );
        Self {
            context,
            term,
            fleets,
            permits,
            wake,
            reader,
            memory,
            waiting,
            tellers,
            strays,
            obstacles,
        }
    }

    /// Goes round after round until stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        tokio::spawn(Arc::clone(&self.strays).watch(stop.clone()));
        loop {
            let pause = match self.turn().await {
                Ok(true) => self.context.timing.round,
                Ok(false) => self.context.timing.round * IDLE_FACTOR,
                Err(Broken::Refused(what)) => {
                    tracing::debug!(what, "somebody else wrote: the round is begun again");
                    TRY_AGAIN
                }
                Err(Broken::Ledger(error)) => {
                    tracing::warn!(error = %chain(&error), "the round is begun again");
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One round. Whether there is anything to look after.
    pub(crate) async fn turn(&mut self) -> Result<bool, Broken> {
        // Before the ledger: what is on its way is counted (see `Permits::asked`), and a
        // termination that is known now was known before the states are read (rule 12).
        let asked = self.permits.asked();
        let asking = &asked.on_their_way;
        let fleets = self
            .fleets
            .iter()
            .map(|(name, fleet)| (name.clone(), fleet.sight()));
        let fleets: BTreeMap<_, _> = fleets.collect();
        let snapshot = self.reader.read(&*self.context.ledger).await?;
        let now = self.context.clock.now();
        self.memory.see(&snapshot, self.context.clock.steady(), now);
        for (name, fleet) in &self.fleets {
            fleet.heard_of(snapshot.workers_of(name, &fleets));
            let reported = snapshot.states.keys().chain(snapshot.unreadable.keys());
            fleet.reported(reported.cloned().collect());
        }
        let mut turn = Turn {
            snapshot,
            fleets,
            now,
        };

        self.bear_orders(&mut turn).await?;
        self.progress(&mut turn).await?;
        self.tidy(&mut turn).await?;
        self.end_strays(&turn);
        let view = self.view(&turn, asking);
        self.tell_obstacles(&view, now);
        let actions = schedule(&view, now);
        self.waiting
            .dismiss(actions.iter().filter_map(Action::takes_over));
        for action in actions {
            self.act(&mut turn, action).await?;
        }
        let view = self.view(&turn, asking);
        self.permits.publish(intake(&view), &asked);
        let machines = turn.fleets.values().any(|fleet| {
            fleet
                .machines
                .values()
                .any(|machine| machine.state.is_live())
        });
        Ok(machines || !turn.snapshot.records.is_empty() || !turn.snapshot.orders.is_empty())
    }

    /// Whether nothing will be heard of a worker of this fleet any more.
    pub(super) fn is_gone(&self, fleet: &FleetSight, worker: &WorkerId) -> bool {
        let silent = self.memory.silent_for(worker);
        fleet.is_gone(worker, silent, self.context.timing.takeover)
    }

    fn tell_obstacles(&self, view: &View, now: Timestamp) {
        let runners = view.runners.iter();
        let found: BTreeMap<_, _> = runners
            .filter_map(|runner| Some((runner.name.clone(), obstacle(runner, now)?)))
            .collect();
        self.obstacles.send_if_modified(|known| {
            let changed = *known != found;
            *known = found;
            changed
        });
    }

    pub(super) fn seat(&self, runner: &RunnerName) -> Option<&Seat> {
        self.context.runners.get(runner)
    }

    fn view(&self, turn: &Turn, asking: &BTreeMap<RunnerName, u32>) -> View {
        let sights = Sights {
            context: &self.context,
            snapshot: &turn.snapshot,
            memory: &self.memory,
            now: turn.now,
        };
        let runners = self.context.runners.iter().map(|(name, seat)| {
            let mut view = sights.runner(name, seat, &turn.fleets[name]);
            view.asking = asking.get(name).copied().unwrap_or_default();
            view
        });
        View {
            concurrent: self.context.concurrent,
            runners: runners.collect(),
        }
    }

    /// Gives every worker that reports an empty order. An order is born empty, before anything
    /// is asked of the worker: so no manager ever writes an entry by creating an order (rule 3).
    async fn bear_orders(&self, turn: &mut Turn) -> Result<(), Broken> {
        let newcomers: Vec<(WorkerId, RunnerName)> = turn
            .fleets
            .iter()
            .flat_map(|(runner, fleet)| {
                fleet
                    .machines
                    .keys()
                    .map(move |worker| (worker, runner, fleet))
            })
            .filter(|(worker, _, fleet)| {
                turn.snapshot.states.contains_key(*worker)
                    && !turn.snapshot.orders.contains_key(*worker)
                    && !fleet.is_terminated(worker)
            })
            .map(|(worker, runner, _)| (worker.clone(), runner.clone()))
            .collect();
        for (worker, runner) in newcomers {
            let key = Key::order(&worker);
            let order = Order::empty(&runner);
            let Some(stored) = create(&*self.context.ledger, &key, order).await? else {
                return Err(Broken::Refused(key.to_string()));
            };
            tracing::info!(%runner, worker = worker.instance(), "a new worker reports");
            turn.snapshot.orders.insert(worker, stored);
        }
        Ok(())
    }

    /// Writes a record against the version that this round has read.
    pub(super) async fn write_record(
        &self,
        turn: &mut Turn,
        job: &JobKey,
        next: Record,
    ) -> Result<(), Broken> {
        let key = Key::record(job);
        let Some(old) = turn.snapshot.records.get(job) else {
            return Err(Broken::Refused(key.to_string()));
        };
        let stored = replace(&*self.context.ledger, &key, old, next).await?;
        let stored = stored.ok_or_else(|| Broken::Refused(key.to_string()))?;
        turn.snapshot.records.insert(job.clone(), stored);
        Ok(())
    }

    /// Writes an order against the version that this round has read.
    pub(super) async fn write_order(
        &self,
        turn: &mut Turn,
        worker: &WorkerId,
        change: impl FnOnce(&Order) -> Order,
    ) -> Result<(), Broken> {
        let key = Key::order(worker);
        let Some(old) = turn.snapshot.orders.get(worker) else {
            return Err(Broken::Refused(key.to_string()));
        };
        let next = change(&old.value);
        let stored: Option<Stored<Order>> = replace(&*self.context.ledger, &key, old, next).await?;
        let stored = stored.ok_or_else(|| Broken::Refused(key.to_string()))?;
        turn.snapshot.orders.insert(worker.clone(), stored);
        Ok(())
    }
}
