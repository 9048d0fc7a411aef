//! The manager's loop: one manager leads, the others watch it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use onspot_fleet::Policy;
use onspot_ledger::{Greeting, Ledger, ManagerId, RunnerName};
use onspot_settings::Timing;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::capacity::Capacity;
use crate::clock::Clock;
use crate::coordinator::{Coordinator, JobSource};
use crate::liveness::{Beat, Liveness};
use crate::metrics::Metrics;

mod actions;
mod cleanup;
mod election;
mod fleet;
mod memory;
mod pace;
mod payload;
mod permits;
mod picture;
mod poll;
mod progress;
mod receive;
mod refused;
mod report;
mod round;
mod settle;
mod strays;
mod takeover;
mod token_check;
mod trace;

pub(crate) use fleet::chain;
pub use settle::{Coordinators, Settled, Settling, Untold};

use election::{Election, Lead, News};
use fleet::Fleet;
use payload::Payloads;
use permits::Permits;
use poll::Intake;
use round::{Rounds, StatusSender};
use token_check::TokenCheck;

/// How long a manager that ends waits until the jobs it has received are written down.
const LAST_WRITES: Duration = Duration::from_secs(10);
/// How long a manager does not try to lead after its rounds have died; it doubles with every death
/// that follows soon, up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_secs(30);
/// The longest time that it does not try to lead.
const LONGEST_REST: Duration = Duration::from_mins(10);

/// The name of the rounds in the liveness checks.
const ROUNDS: &str = "the rounds";

/// What a manager works with.
pub struct LeaderContext {
    /// What is where.
    pub ledger: Arc<dyn Ledger>,
    /// The time.
    pub clock: Clock,
    /// How fast things are noticed.
    pub timing: Timing,
    /// The identity of this manager.
    pub me: ManagerId,
    /// The version of its program, for the ledger.
    pub version: String,
    /// Where workers reach this manager's cache of images, if it has one.
    pub registry: Option<SocketAddr>,
    /// The most jobs at a time, over all runners.
    pub concurrent: u32,
    /// The wait between two requests for a job if GitLab does not delay its answers itself.
    pub check_interval: Duration,
    /// The liveness of the loops.
    pub liveness: Liveness,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// How long a manager that ends keeps the lead while GitLab holds one of its requests, which
    /// may be answered with a job at any moment.
    pub last_answer: Duration,
    /// The `[[runners]]`.
    pub runners: BTreeMap<RunnerName, RunnerContext>,
}

/// What the leader needs for one `[[runners]]` section.
pub struct RunnerContext {
    /// Where its jobs come from.
    pub source: Arc<dyn JobSource>,
    /// The receiver of reports about them.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where its workers come from.
    pub capacity: Arc<dyn Capacity>,
    /// The unique id of the workers' role, which with the instance's id makes the worker's id.
    pub role_id: String,
    /// How workers are launched; `None` if they can't be.
    pub policy: Option<Policy>,
    /// The most jobs at a time; 0 for no limit of its own.
    pub limit: u32,
    /// How many requests for jobs may be open at a time, at least 1.
    pub request_concurrency: u32,
    /// The public part of the runner's token, for cache keys.
    pub short_token: String,
}

/// Leads whenever it can, until `shutdown`. Then it asks for no more jobs, keeps the lead until
/// GitLab has answered the open requests, and steps down. Running jobs are not touched, because
/// their workers handle them.
pub async fn lead(context: Arc<LeaderContext>, shutdown: CancellationToken) {
    let token_check = TokenCheck::start(&context, &shutdown);
    let election = Election::new(
        context.me.clone(),
        &context.version,
        context.clock.clone(),
        context.timing.clone(),
    )
    .telling_of(context.registry);
    let mut manager = Manager {
        election,
        leadership: None,
        requests: TaskTracker::new(),
        rest: Rest::default(),
        leaves: None,
        beat: context.liveness.watch("the manager's loop"),
        context,
    };
    manager.manage(&token_check, &shutdown).await;
    manager.step_down().await;
}

/// One manager: as a candidate, as the leader, and while it ends.
struct Manager {
    context: Arc<LeaderContext>,
    election: Election,
    leadership: Option<Leadership>,
    /// The open requests for jobs, of all terms.
    requests: TaskTracker,
    rest: Rest,
    /// Set once it was asked to end: until when it waits for GitLab's last answers.
    leaves: Option<Instant>,
    beat: Beat,
}

impl Manager {
    async fn manage(&mut self, token_check: &TokenCheck, shutdown: &CancellationToken) {
        let mut ticks = tokio::time::interval(self.context.timing.leader_renewal());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let leaves = self.leaves;
            self.beat.now();
            tokio::select! {
                () = shutdown.cancelled(), if leaves.is_none() => {
                    self.ask_no_more();
                    continue;
                }
                () = self.requests.wait(), if leaves.is_some() => return,
                () = until(leaves) => {
                    tracing::warn!("GitLab still holds a request for a job");
                    return;
                }
                _ = ticks.tick() => {}
                () = token_check.changed() => {}
                // A leader without rounds must not renew the lead, because that keeps the others
                // from taking it.
                () = died(&mut self.leadership) => {
                    self.rounds_have_died().await;
                    continue;
                }
            }
            self.stand(token_check.greetings()).await;
        }
    }

    /// Keeps the lead or tries to take it, and begins or ends its leadership accordingly.
    async fn stand(&mut self, greetings: BTreeMap<RunnerName, Greeting>) {
        let steady = self.context.clock.steady();
        let candidate = self.leaves.is_none() && !self.rest.is_on(steady);
        if self.leadership.is_none() && !candidate {
            return;
        }
        let leadership = self.leadership.as_ref();
        let aside = leadership.map(|leadership| leadership.aside.borrow().clone());
        let obstacles = leadership.map(|leadership| leadership.obstacles.borrow().clone());
        let news = News {
            greetings,
            launches: obstacles.unwrap_or_default(),
            aside: aside.unwrap_or_default(),
        };
        let lead = self.election.step(&*self.context.ledger, &news).await;
        match lead {
            Lead::Mine if self.leadership.is_none() => {
                let term = self.election.term().unwrap_or_default();
                self.leadership = Some(Leadership::begin(&self.context, term, &self.requests));
                self.rest.begins_work(self.context.clock.steady());
            }
            Lead::Others if self.leadership.is_some() => self.leadership = None,
            Lead::Mine | Lead::Others => {}
        }
    }

    /// From here on it asks for no more jobs; everything else continues.
    fn ask_no_more(&mut self) {
        self.leaves = Some(Instant::now() + self.context.last_answer);
        if let Some(leadership) = &self.leadership {
            leadership.no_more_jobs.cancel();
        }
        self.requests.close();
    }

    async fn rounds_have_died(&mut self) {
        let pause = self.rest.begins(self.context.clock.steady());
        tracing::error!(manager = %self.context.me, ?pause,
            "the rounds have died: stepping down, and leaving the lead to others for a while");
        self.context.liveness.forget_dead(ROUNDS);
        self.leadership = None;
        self.election.release(&*self.context.ledger).await;
    }

    async fn step_down(mut self) {
        // Nothing new begins before the lead is released; calls that have begun do no harm.
        self.leadership = None;
        self.election.release(&*self.context.ledger).await;
        // A job that was just received is written down before this process ends.
        self.requests.close();
        if tokio::time::timeout(LAST_WRITES, self.requests.wait())
            .await
            .is_err()
        {
            tracing::error!("a request for a job was not answered, or its job not written down");
        }
    }
}

/// The pause after a manager's rounds have died. The cause may be in the ledger and would kill them
/// again at once.
#[derive(Debug, Default)]
struct Rest {
    until: Duration,
    next: Option<Duration>,
    working_since: Duration,
}

impl Rest {
    fn is_on(&self, steady: Duration) -> bool {
        steady < self.until
    }

    fn begins_work(&mut self, steady: Duration) {
        self.working_since = steady;
    }

    /// Records that the rounds have died; returns how long the pause is.
    fn begins(&mut self, steady: Duration) -> Duration {
        let worked = steady.saturating_sub(self.working_since);
        let pause = match self.next {
            Some(next) if worked < LONGEST_REST => next,
            _ => FIRST_REST,
        };
        self.next = Some((pause * 2).min(LONGEST_REST));
        self.until = steady + pause;
        pause
    }
}

/// Ends at that time; without one, never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Everything that only a leader does, in tasks that end when this is dropped.
struct Leadership {
    stop: CancellationToken,
    /// What keeps each runner from launching workers.
    obstacles: watch::Receiver<BTreeMap<RunnerName, String>>,
    no_more_jobs: CancellationToken,
    /// What the rounds have set aside.
    aside: watch::Receiver<BTreeMap<String, String>>,
    rounds: JoinHandle<()>,
}

/// Ends when the rounds of a leadership do: they never should.
async fn died(leadership: &mut Option<Leadership>) {
    match leadership {
        Some(leadership) => drop((&mut leadership.rounds).await),
        None => std::future::pending().await,
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Leadership {
    fn begin(context: &Arc<LeaderContext>, term: u64, requests: &TaskTracker) -> Self {
        let stop = CancellationToken::new();
        let no_more_jobs = stop.child_token();
        let wake = Arc::new(Notify::new());
        let mut fleets = BTreeMap::new();
        for (name, runner) in &context.runners {
            let capacity = Arc::clone(&runner.capacity);
            let fleet = Fleet::new(
                name.clone(),
                &runner.role_id,
                capacity,
                context.clock.clone(),
                Arc::clone(&wake),
            );
            tokio::spawn(Arc::clone(&fleet).watch(context.timing.watch, stop.clone()));
            fleets.insert(name.clone(), fleet);
        }
        let intake = Intake {
            permits: Permits::new(),
            payloads: Payloads::new(Arc::clone(&context.ledger)),
            wake,
        };
        for (name, runner) in &context.runners {
            for _ in 0..runner.request_concurrency.max(1) {
                requests.spawn(poll::poll(
                    Arc::clone(context),
                    name.clone(),
                    intake.clone(),
                    no_more_jobs.clone(),
                ));
            }
        }
        let (aside_sender, aside) = watch::channel(BTreeMap::new());
        let (obstacles_sender, obstacles) = watch::channel(BTreeMap::new());
        let status = StatusSender {
            obstacles: obstacles_sender,
            aside: aside_sender,
        };
        let rounds = Rounds::new(Arc::clone(context), term, fleets, intake, status);
        let rounds = tokio::spawn(rounds.run(stop.clone()));
        Self {
            stop,
            obstacles,
            no_more_jobs,
            aside,
            rounds,
        }
    }
}
