//! The manager's loop: one manager leads, the others watch it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onspot_fleet::Policy;
use onspot_ledger::{Ledger, ManagerId, RunnerName};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::capacity::Capacity;
use crate::clock::Clock;
use crate::coordinator::{Coordinator, JobSource};
use crate::settings::Timing;

mod chores;
mod election;
mod fleet;
mod greet;
mod memory;
mod permits;
mod poll;
mod progress;
mod round;
mod settle;
mod snapshot;
mod strays;
mod takeover;
mod tell;
mod trace;
mod view;

pub(crate) use fleet::chain;
pub use settle::{Coordinators, Settled, Settling, Untold};

use election::{Election, Lead, News};
use fleet::Fleet;
use greet::Greeter;
use permits::Permits;
use round::Rounds;

/// How long a manager that ends waits for what it has received to be written down.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// What a manager works with.
pub struct LeaderContext {
    /// What is where.
    pub ledger: Arc<dyn Ledger>,
    /// The time.
    pub clock: Clock,
    /// How fast things are noticed.
    pub timing: Timing,
    /// Who this manager is.
    pub me: ManagerId,
    /// The version of its program, for the ledger.
    pub version: String,
    /// The most jobs at a time, over all runners.
    pub concurrent: u32,
    /// Between two requests for a job, when GitLab does not hold them back itself.
    pub check_interval: Duration,
    /// The `[[runners]]`.
    pub runners: BTreeMap<RunnerName, Seat>,
}

/// One `[[runners]]` section as the leader works for it.
pub struct Seat {
    /// Where its jobs come from.
    pub source: Arc<dyn JobSource>,
    /// Who is told about them.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where its workers come from.
    pub capacity: Arc<dyn Capacity>,
    /// How workers are bought; `None` if they can't be.
    pub policy: Option<Policy>,
    /// The most jobs at a time; 0 for no limit of its own.
    pub limit: u32,
    /// How many requests for jobs may be on their way at a time, at least 1.
    pub request_concurrency: u32,
    /// The public part of the runner's token, for cache keys.
    pub short_token: String,
}

/// Leads whenever it can, until `shutdown`; then steps down at once. Running jobs are not
/// touched: they are their workers' business.
pub async fn lead(context: Arc<LeaderContext>, shutdown: CancellationToken) {
    let wake = Arc::new(Notify::new());
    let greeter = Greeter::start(&context, &shutdown);
    let mut election = Election::new(
        context.me.clone(),
        &context.version,
        context.clock.clone(),
        context.timing.clone(),
    );
    let mut ticks = tokio::time::interval(context.timing.leader_renewal());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let intake = TaskTracker::new();
    let mut office: Option<Office> = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
            () = greeter.changed() => {}
            // Who renews the lead and does nothing with it keeps the others from it.
            () = died(&mut office) => {
                tracing::error!(manager = %context.me, "the rounds have died: stepping down");
                office = None;
                election.release(&*context.ledger).await;
                continue;
            }
        }
        let obstacles = office
            .as_ref()
            .map(|office| office.obstacles.borrow().clone());
        let news = News {
            greetings: greeter.greetings(),
            launches: obstacles.unwrap_or_default(),
        };
        match election.step(&*context.ledger, &news).await {
            Lead::Mine if office.is_none() => {
                let term = election.term().unwrap_or_default();
                office = Some(Office::open(&context, term, Arc::clone(&wake), &intake));
            }
            Lead::Others if office.is_some() => office = None,
            Lead::Mine | Lead::Others => {}
        }
    }
    // Nothing more is begun before the lead is given away; what is begun does no harm.
    drop(office);
    election.release(&*context.ledger).await;
    // A job that was just received is written down before this process ends.
    intake.close();
    if tokio::time::timeout(LAST_WRITES, intake.wait())
        .await
        .is_err()
    {
        tracing::error!("a received job could not be written down in time");
    }
}

/// Everything that only a leader does, in tasks that end when this is dropped.
struct Office {
    stop: CancellationToken,
    /// What keeps each runner from launching workers.
    obstacles: watch::Receiver<BTreeMap<RunnerName, String>>,
    rounds: JoinHandle<()>,
}

/// Ends when the rounds of an open office do: they never should.
async fn died(office: &mut Option<Office>) {
    match office {
        Some(office) => drop((&mut office.rounds).await),
        None => std::future::pending().await,
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Office {
    fn open(
        context: &Arc<LeaderContext>,
        term: u64,
        wake: Arc<Notify>,
        intake: &TaskTracker,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut fleets = BTreeMap::new();
        for (name, seat) in &context.runners {
            let capacity = Arc::clone(&seat.capacity);
            let fleet = Fleet::new(
                name.clone(),
                capacity,
                context.clock.clone(),
                Arc::clone(&wake),
            );
            tokio::spawn(Arc::clone(&fleet).watch(context.timing.watch, stop.clone()));
            fleets.insert(name.clone(), fleet);
        }
        let permits = Permits::new();
        for (name, seat) in &context.runners {
            for _ in 0..seat.request_concurrency.max(1) {
                intake.spawn(poll::poll(
                    Arc::clone(context),
                    name.clone(),
                    permits.clone(),
                    Arc::clone(&wake),
                    stop.clone(),
                ));
            }
        }
        let (tell, obstacles) = watch::channel(BTreeMap::new());
        let rounds = Rounds::new(Arc::clone(context), term, fleets, permits, wake, tell);
        let rounds = tokio::spawn(rounds.run(stop.clone()));
        Self {
            stop,
            obstacles,
            rounds,
        }
    }
}
