//! The worker's loop: reads its order, runs the ordered attempts, and records their progress in its
//! state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use onspot_executor::{Executor, Stop};
use onspot_ledger::{BootId, Error, Intake, Key, Order, State, Step, Stored, read};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::liveness::Beat;

mod attempts;
mod cache;
mod context;
mod freeze;
mod interruption;
mod job;
mod keeper;
mod lease;
mod notes;
mod orders;
mod pulse;
pub(crate) mod registry;
mod result;
mod retire;
mod watchdog;

pub use cache::CachePlace;
pub use context::{WorkEnd, WorkerContext, WorkerError};
pub use freeze::freeze_limit;
pub use interruption::watch_for_interruption;
pub use notes::LeaseFileError;
pub use retire::Retirement;
pub use watchdog::watchdog;

use attempts::Running;
use job::Ended;
use keeper::Keeper;
use notes::Notes;
use orders::{Present, Todo};
use pulse::Pulse;
use retire::Listener;

/// How long a stopping worker waits for its jobs to be killed and given up.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// One agent's life on a worker.
pub(crate) struct Agent {
    context: Arc<WorkerContext>,
    keeper: Keeper,
    running: BTreeMap<u64, Running>,
    tasks: JoinSet<(u64, Ended)>,
    /// Whether the jobs were given up because the machine will be interrupted.
    gave_up: bool,
    listener: Listener,
    /// The notes that agent and watchdog exchange; `None` without a watchdog.
    notes: Option<Notes>,
    /// Slots to thaw before their next jobs, once they are free. They may be frozen although no
    /// attempt in them will continue.
    to_thaw: BTreeSet<usize>,
    /// Why it takes no more jobs and shuts the machine down after the running ones.
    retiring: Option<Retirement>,
    /// Reports that the loop runs.
    beat: Beat,
}

/// Runs jobs until `shutdown`; then gives them up, so that others can take them at once. Ends by
/// itself when the worker is not needed any more.
///
/// # Errors
///
/// [`WorkerError`] if a predecessor's jobs could not be killed, or another agent has taken over the
/// worker.
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
    let mut pulse = Pulse::new(agent.notes.clone(), agent.context.clock.clone());
    loop {
        agent.beat.now();
        pulse.note().await;
        let give_up_in = agent.give_up_in().filter(|_| !agent.gave_up);
        tokio::select! {
            () = shutdown.cancelled() => {
                agent.give_everything_up("its worker was stopped").await;
                return Ok(WorkEnd::Stopped);
            }
            () = keeper::turns_true(&mut superseded) => {
                agent.stop_all(Stop::Abort);
                agent.wait_for_all().await;
                return Err(superseded_by(&agent.context));
            }
            () = lease.ended() => agent.freeze().await,
            () = pulse.due() => continue,
            Ok(()) = interruption.changed() => agent.interrupted(),
            () = tokio::time::sleep(give_up_in.unwrap_or_default()), if give_up_in.is_some() => {
                agent.give_up();
            }
            Some(ended) = agent.tasks.join_next() => agent.ended(ended),
            _ = polls.tick() => {}
        }
        // A ledger that hangs must not delay more urgent work.
        agent.beat.now();
        tokio::select! {
            read = pulse.during(agent.look_around()) => if let Err(error) = read {
                tracing::warn!(%error, "the order could not be read");
            },
            () = shutdown.cancelled() => {}
            () = keeper::turns_true(&mut superseded) => {}
            () = lease.ended() => agent.freeze().await,
        }
        agent.beat.now();
        if let Some(why) = agent.retires().await {
            return Ok(WorkEnd::Retired(why));
        }
    }
}

/// Removes what the executor has made, because there will be no more jobs.
async fn close(executor: &dyn Executor) {
    if tokio::time::timeout(STOP_LIMIT, executor.close())
        .await
        .is_err()
    {
        tracing::warn!("not everything could be removed");
    }
}

fn superseded_by(context: &WorkerContext) -> WorkerError {
    WorkerError::Superseded {
        worker: context.id.clone(),
    }
}

impl Agent {
    /// Kills what a predecessor left, then continues from its stored state (rule 9).
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
        let mut pulse = Pulse::new(notes.clone(), context.clock.clone());
        pulse.note().await;
        let mut superseded = keeper.superseded();
        tokio::select! {
            () = keeper.store(|_| {}) => {}
            () = keeper::turns_true(&mut superseded) => return Err(superseded_by(&context)),
        }
        let beat = context.liveness.watch("the agent's loop");
        let mut agent = Self {
            context,
            keeper,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            gave_up: false,
            listener,
            notes,
            to_thaw: BTreeSet::new(),
            retiring: None,
            beat,
        };
        let (worker, slots) = (agent.context.id.instance(), agent.context.slots);
        tracing::info!(worker, slots, "ready");
        agent.resume_results(|_, _| true);
        for slot in 0..agent.context.slots {
            agent.warm(usize::try_from(slot).unwrap_or(usize::MAX));
        }
        Ok(agent)
    }

    /// Follows the order, and checks whether somebody leads.
    async fn look_around(&mut self) -> Result<(), Error> {
        let followed = self.follow_order().await;
        self.beat.now();
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
            // Nothing was ever asked of this worker, or it counts as gone. Jobs without an order
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
        self.beat.now();
        self.thaw(&order, asked_in).await;
        self.beat.now();
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

    /// Removes from the state what is no longer in the order, and updates the intake.
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

    /// Why the worker retires, once it has no jobs and has stored that, so that nobody gives it a
    /// job any more.
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
