//! The worker's loop: reads its order, runs what is asked, and says in its state how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onspot_executor::{Executor, Stop};
use onspot_ledger::{BootId, Error, Intake, Key, Order, State, Step, Stored, read};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod cache;
mod context;
mod freeze;
mod interruption;
mod job;
mod keeper;
mod lease;
mod notes;
mod orders;
pub(crate) mod registry;
mod result;
mod retire;
mod watchdog;

pub use cache::CachePlace;
pub use context::{WorkEnd, WorkerContext, WorkerError};
pub use interruption::watch_for_interruption;
pub use notes::LeaseFileError;
pub use retire::Retirement;
pub use watchdog::watchdog;

use job::{AttemptJob, Ended};
use keeper::Keeper;
use notes::Notes;
use orders::{Present, Todo};
use retire::Listener;

/// How long a stopping worker waits for its jobs to be killed and given up.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often the watchdog is told that the loop goes round.
const NOTE_ALIVE: Duration = Duration::from_secs(5);

/// A running attempt, as the loop sees it.
struct Running {
    attempt: u32,
    slot: usize,
    /// When it was taken, on the steady clock.
    taken: Duration,
    stop: watch::Sender<Option<Stop>>,
    /// Since when it stands still.
    frozen: watch::Sender<Option<Duration>>,
}

/// One agent's life on a worker.
pub(crate) struct Agent {
    context: Arc<WorkerContext>,
    keeper: Keeper,
    running: BTreeMap<u64, Running>,
    tasks: JoinSet<(u64, Ended)>,
    /// The jobs were given up because the machine will be taken away.
    gave_up: bool,
    listener: Listener,
    /// What the watchdog is told and tells; `None` where there is none.
    notes: Option<Notes>,
    /// The watchdog may have frozen slots that no job has.
    idle_frozen: bool,
    /// Why nothing more is taken, and the machine ends when what runs has ended.
    retiring: Option<Retirement>,
}

/// Runs jobs until `shutdown`; then gives them up, so that others can take them at once. Ends by
/// itself when the worker is of no use any more.
pub async fn work(
    context: Arc<WorkerContext>,
    shutdown: CancellationToken,
) -> Result<WorkEnd, WorkerError> {
    let executor = Arc::clone(&context.executor);
    let patience = context.ends_itself.then_some(context.timing.leaderless);
    let mut agent = tokio::select! {
        () = shutdown.cancelled() => {
            close(&*executor).await;
            return Ok(WorkEnd::Stopped);
        }
        agent = Agent::start(context) => agent?,
        () = tokio::time::sleep(patience.unwrap_or_default()), if patience.is_some() => {
            return Ok(WorkEnd::Retired(Retirement::NoLeader(patience.unwrap_or_default())));
        }
    };
    let mut polls = tokio::time::interval(agent.context.timing.order_poll);
    polls.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut interruption = agent.context.interruption.clone();
    let mut superseded = agent.keeper.superseded();
    let mut lease = agent.keeper.lease();
    let beat = agent.context.liveness.watch("the agent's loop");
    let mut alive = tokio::time::interval(NOTE_ALIVE);
    alive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.now();
        let give_up_in = agent.give_up_in().filter(|_| !agent.gave_up);
        tokio::select! {
            () = shutdown.cancelled() => {
                agent.give_everything_up("its worker was stopped").await;
                return Ok(WorkEnd::Stopped);
            }
            () = keeper::turns_true(&mut superseded) => {
                agent.stop_all(Stop::Abort);
                agent.wait_for_all().await;
                return Err(agent.superseded());
            }
            () = lease.ended() => agent.freeze().await,
            _ = alive.tick(), if agent.notes.is_some() => {
                agent.note_alive().await;
                continue;
            }
            Ok(()) = interruption.changed() => agent.interrupted(),
            () = tokio::time::sleep(give_up_in.unwrap_or_default()), if give_up_in.is_some() => {
                agent.give_up();
            }
            Some(ended) = agent.tasks.join_next() => agent.ended(ended),
            _ = polls.tick() => {}
        }
        // A ledger that hangs must not keep the agent from what is more urgent.
        tokio::select! {
            read = agent.look_around() => if let Err(error) = read {
                tracing::warn!(%error, "the order could not be read");
            },
            () = shutdown.cancelled() => {}
            () = keeper::turns_true(&mut superseded) => {}
            () = lease.ended() => agent.freeze().await,
        }
        if let Some(why) = agent.retires().await {
            return Ok(WorkEnd::Retired(why));
        }
    }
}

/// Removes what the executor has made, for there will be no more jobs.
async fn close(executor: &dyn Executor) {
    if tokio::time::timeout(STOP_LIMIT, executor.close())
        .await
        .is_err()
    {
        tracing::warn!("not everything could be removed");
    }
}

impl Agent {
    /// Kills what a predecessor left, then goes on from its stored state (rule 9).
    pub(crate) async fn start(context: Arc<WorkerContext>) -> Result<Self, WorkerError> {
        let swept = context.executor.sweep().await.map_err(WorkerError::Sweep)?;
        if swept.job_containers > 0 {
            tracing::warn!(
                containers = swept.job_containers,
                "killed what an earlier agent left"
            );
        }
        let boot = BootId::random();
        let stored = loop {
            match read(&*context.ledger, &Key::state(&context.id)).await {
                Ok(stored) => break stored,
                Err(error) => {
                    tracing::warn!(%error, "the stored state can't be read yet");
                    tokio::time::sleep(context.timing.order_poll).await;
                }
            }
        };
        let now = context.clock.now();
        let mut state = match &stored {
            Some(stored) => stored.value.restarted(&boot, &context.version, now),
            None => State::first(&boot, &context.version, context.slots, now),
        };
        state.slots = context.slots;
        state.milestones.extend(context.milestones.iter().cloned());
        state.milestones.push(Step::new("agent", now));
        let keeper = Keeper::start(&context, state, stored);
        let listener = Listener::new(context.clock.steady());
        let notes = context.lease_file.as_deref().map(Notes::beside);
        let mut agent = Self {
            context,
            keeper,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            gave_up: false,
            listener,
            notes,
            idle_frozen: false,
            retiring: None,
        };
        agent.note_alive().await;
        let mut superseded = agent.keeper.superseded();
        tokio::select! {
            () = agent.keeper.store(|_| {}) => {}
            () = keeper::turns_true(&mut superseded) => return Err(agent.superseded()),
        }
        let (worker, slots) = (agent.context.id.instance(), agent.context.slots);
        tracing::info!(worker, slots, "ready");
        agent.resume_results(|_, _| true);
        for slot in 0..agent.context.slots {
            agent.warm(usize::try_from(slot).unwrap_or(usize::MAX));
        }
        Ok(agent)
    }

    fn superseded(&self) -> WorkerError {
        WorkerError::Superseded {
            worker: self.context.id.clone(),
        }
    }

    /// Results that were stored and may not have been told, by a predecessor (rule 9: resumed at
    /// rule 7) or before the lease ended.
    fn resume_results(&mut self, wanted: impl Fn(u64, u32) -> bool) {
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
                    slot: usize::MAX,
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

    /// Follows the order, and hears whether somebody leads.
    async fn look_around(&mut self) -> Result<(), Error> {
        let followed = self.follow_order().await;
        if self.context.ends_itself {
            let (timing, steady) = (&self.context.timing, self.context.clock.steady());
            let ledger = &*self.context.ledger;
            self.listener.look(ledger, timing, steady).await;
        }
        followed
    }

    /// Reads the order and does what it says.
    pub(crate) async fn follow_order(&mut self) -> Result<(), Error> {
        let asked_in = self.keeper.tenure();
        let key = Key::order(&self.context.id);
        let Some(Stored { value: order, .. }) = read(&*self.context.ledger, &key).await? else {
            // Nothing was ever asked of this worker, or it counts as gone: what is not asked for
            // must not run.
            self.stop_all(Stop::Abort);
            return Ok(());
        };
        let present = Present {
            running: self
                .running
                .iter()
                .map(|(job, running)| (*job, running.attempt))
                .collect(),
            slots: usize::try_from(self.context.slots).unwrap_or(usize::MAX),
            lease: self.keeper.lease_holds(),
            max_builds: self.context.max_builds,
            retiring: self.retiring.is_some(),
        };
        self.thaw(&order, asked_in).await;
        let state = self.keeper.state();
        for todo in orders::todo(&order, &state, &present) {
            match todo {
                Todo::Accept { job, attempt } => self.accept(job, attempt),
                Todo::Abort { job } => self.stop(job, Stop::Abort),
            }
        }
        self.keep_up(&order, &state);
        if present.lease {
            self.resume_results(|job, attempt| order.runs(job, attempt));
        }
        Ok(())
    }

    /// Forgets what the order has forgotten, and says how the intake stands.
    fn keep_up(&self, order: &Order, state: &State) {
        let held: Vec<u64> = self.running.keys().copied().collect();
        let intake = if self.retiring.is_some() {
            orders::closed(state, &held)
        } else {
            orders::intake(order, state, self.context.max_builds, &held)
        };
        let mut next = state.clone();
        next.forget_released(order, |job| held.contains(&job));
        if next.jobs.len() != state.jobs.len() || intake != state.intake {
            if intake != state.intake {
                tracing::info!(
                    worker = self.context.id.instance(),
                    ?intake,
                    "intake changes"
                );
            }
            let order = order.clone();
            self.keeper.store_soon(move |state| {
                state.forget_released(&order, |job| held.contains(&job));
                state.intake = intake;
            });
        }
    }

    fn accept(&mut self, job: u64, attempt: u32) {
        let taken: Vec<usize> = self.running.values().map(|running| running.slot).collect();
        let Some(slot) = (0..=taken.len()).find(|slot| !taken.contains(slot)) else {
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

    fn stop(&self, job: u64, how: Stop) {
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

    fn stop_all(&self, how: Stop) {
        for job in self.running.keys() {
            self.stop(*job, how);
        }
    }

    fn ended(&mut self, ended: Result<(u64, Ended), tokio::task::JoinError>) {
        match ended {
            Ok((job, Ended)) => {
                if let Some(running) = self.running.remove(&job)
                    && running.slot != usize::MAX
                {
                    self.warm(running.slot);
                }
            }
            // A task that panicked leaves its job "running" for good: better to start anew.
            Err(error) => {
                tracing::error!(%error, "a job's task died");
                self.keeper.supersede();
            }
        }
    }

    fn warm(&self, slot: usize) {
        let executor = Arc::clone(&self.context.executor);
        tokio::spawn(async move {
            if let Err(error) = executor.warm(slot).await {
                tracing::warn!(slot, %error, "no warm helper");
            }
        });
    }

    /// Why the worker goes, once it has nothing to do any more and that is stored: nobody gives
    /// it a job then.
    async fn retires(&mut self) -> Option<Retirement> {
        if !self.context.ends_itself {
            return None;
        }
        let held: Vec<u64> = self.running.keys().copied().collect();
        let idle = orders::closed(&self.keeper.state(), &held) == Intake::Drained;
        if self.retiring.is_none() {
            let (timing, steady) = (&self.context.timing, self.context.clock.steady());
            self.retiring = self.listener.verdict(timing, !idle, steady);
            let why = self.retiring?;
            tracing::warn!(%why, "nothing more is taken, and the machine ends");
        }
        if !idle {
            return None;
        }
        let last = self.keeper.store(|state| state.intake = Intake::Drained);
        if tokio::time::timeout(STOP_LIMIT, last).await.is_err() {
            tracing::warn!("the last state could not be written");
        }
        self.retiring
    }

    async fn give_everything_up(&mut self, why: &str) {
        tracing::info!(jobs = self.running.len(), why, "stopping");
        self.stop_all(Stop::Interrupt);
        self.wait_for_all().await;
        let last = self.keeper.store(|state| state.intake = Intake::Draining);
        if tokio::time::timeout(STOP_LIMIT, last).await.is_err() {
            tracing::warn!("the last state could not be written");
        }
        close(&*self.context.executor).await;
    }

    async fn wait_for_all(&mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_LIMIT, all).await.is_err() {
            tracing::warn!("not all jobs have ended in time");
        }
    }
}
