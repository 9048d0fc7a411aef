//! One round: read, judge, write against what was read, schedule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use onspot_ledger::{
    Error, JobKey, Key, Order, Phase, Record, RunnerName, WorkerId, create, replace,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::fleet::Fleet;
use super::memory::Memory;
use super::pace::Pace;
use super::payload::Payloads;
use super::permits::{Asked, Permits};
use super::picture::{Picture, Reader};
use super::poll::Intake;
use super::report::ResultReporter;
use super::strays::Strays;
use super::trace::WaitingTraces;
use super::{LeaderContext, ROUNDS, RunnerContext, chain};
use crate::liveness::Beat;
use crate::schedule::{Action, RunnerView, View, intake, obstacle, schedule};

/// The pause before the next round if a round has failed, in whole or in part.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// The least time between two rounds is the regular pause divided by this.
const SPACING: u32 = 10;
/// After this many calls without an answer the ledger counts as unreachable. The round then ends,
/// because each further call would have to time out.
const UNANSWERED: u32 = 3;
/// Without jobs and workers, rounds are this many times rarer, because reading costs money.
const IDLE_FACTOR: u32 = 5;

/// Why something was not done. By rule 4 the plan is dropped and made again in the next round: the
/// plan of one job or worker while the others continue, or all plans if nothing can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoundError {
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
    pub(super) waiting: WaitingTraces,
    pub(super) reporter: ResultReporter,
    pub(super) strays: Arc<Strays>,
    /// Reports what keeps each runner from launching workers.
    obstacles: watch::Sender<BTreeMap<RunnerName, String>>,
    pub(super) payloads: Payloads,
    /// What is set aside now, for `run/leader`.
    aside: watch::Sender<BTreeMap<String, String>>,
    pub(super) beat: Beat,
}

/// What the rounds report to the manager, for `run/leader`.
pub(crate) struct StatusSender {
    /// What keeps each runner from launching workers.
    pub obstacles: watch::Sender<BTreeMap<RunnerName, String>>,
    /// What is set aside.
    pub aside: watch::Sender<BTreeMap<String, String>>,
}

/// What one round works on.
pub(super) struct Round {
    pub picture: Picture,
    /// Whether anything was dropped.
    again: bool,
    unanswered: u32,
}

impl Drop for Rounds {
    fn drop(&mut self) {
        self.context.metrics.forget();
    }
}

impl Round {
    /// Handles the result for one job. If its plan was dropped, it and its worker are left alone
    /// for the rest of the round. Returns an error if the round can't continue.
    pub(super) fn judged(
        &mut self,
        job: &JobKey,
        result: Result<(), RoundError>,
    ) -> Result<(), RoundError> {
        let Err(error) = result else {
            return Ok(());
        };
        self.picture.drop_job(job);
        self.dropped(Key::record(job).as_str(), error)
    }

    /// The same for one worker.
    pub(super) fn served(
        &mut self,
        worker: &WorkerId,
        result: Result<(), RoundError>,
    ) -> Result<(), RoundError> {
        let Err(error) = result else {
            return Ok(());
        };
        self.picture.drop_worker(worker);
        self.dropped(Key::order(worker).as_str(), error)
    }

    /// The same for an object on which nothing else depends.
    pub(super) fn cleared(
        &mut self,
        key: &str,
        result: Result<(), RoundError>,
    ) -> Result<(), RoundError> {
        result.or_else(|error| self.dropped(key, error))
    }

    fn dropped(&mut self, key: &str, error: RoundError) -> Result<(), RoundError> {
        self.again = true;
        match error {
            RoundError::Refused(what) => {
                tracing::debug!(what, "somebody else wrote: left for the next round");
                Ok(())
            }
            RoundError::Ledger(error) => {
                let unanswered = matches!(error, Error::Timeout { .. } | Error::Unavailable { .. });
                self.unanswered += u32::from(unanswered);
                let why = &mut self.picture.aside.why;
                why.insert(key.to_owned(), chain(&error));
                if self.unanswered >= UNANSWERED {
                    return Err(error.into());
                }
                Ok(())
            }
        }
    }
}

impl Rounds {
    pub(crate) fn new(
        context: Arc<LeaderContext>,
        term: u64,
        fleets: BTreeMap<RunnerName, Arc<Fleet>>,
        intake: Intake,
        status: StatusSender,
    ) -> Self {
        let probe = context.timing.waiting_probe;
        let Intake {
            permits,
            payloads,
            wake,
        } = intake;
        let waiting = WaitingTraces::new(payloads.clone(), probe, Arc::clone(&wake));
        let reporter =
            ResultReporter::new(payloads.clone(), context.clock.clone(), Arc::clone(&wake));
        let (reader, memory) = (Reader::default(), Memory::default());
        let any = context.runners.values().next();
        let strays = Strays::new(
            any.map(|runner| Arc::clone(&runner.capacity)),
            context.runners.keys().cloned().collect(),
            context.clock.clone(),
        );
        let beat = context.liveness.watch(ROUNDS);
        Self {
            context,
            term,
            fleets,
            permits,
            wake,
            reader,
            memory,
            waiting,
            reporter,
            strays,
            obstacles: status.obstacles,
            payloads,
            aside: status.aside,
            beat,
        }
    }

    /// Goes round after round until stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        tokio::spawn(Arc::clone(&self.strays).watch(stop.clone()));
        let mut pace = Pace::new(self.context.timing.round / SPACING);
        let wake = Arc::clone(&self.wake);
        loop {
            self.beat.now();
            let pause = match self.round().await {
                Ok(pause) => pause,
                Err(RoundError::Refused(what)) => {
                    tracing::debug!(what, "somebody else wrote: the round is begun again");
                    TRY_AGAIN
                }
                Err(RoundError::Ledger(error)) => {
                    tracing::warn!(error = %chain(&error), "the round is begun again");
                    TRY_AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = pace.next(pause, &wake) => {}
            }
        }
    }

    /// Does one round; returns the pause before the next.
    pub(crate) async fn round(&mut self) -> Result<Duration, RoundError> {
        // Both come before the ledger is read: the open requests are counted first (see
        // `Permits::asked`), and a termination has to be known before the states are read (rule
        // 12).
        let asked = self.permits.asked();
        let fleets = self
            .fleets
            .iter()
            .map(|(name, fleet)| (name.clone(), fleet.status()));
        let fleets: BTreeMap<_, _> = fleets.collect();
        let mut picture = self.reader.read(&*self.context.ledger).await?;
        self.beat.now();
        let steady = self.context.clock.steady();
        picture.now = self.context.clock.now();
        picture.take_in_fleets(fleets);
        let blind = self.context.timing.takeover / 2;
        self.memory.see(&mut picture, steady, blind);
        let reported = Arc::new(picture.reported());
        for (name, fleet) in &self.fleets {
            fleet.heard_of(picture.named(name));
            fleet.reported(Arc::clone(&reported));
        }
        let mut round = Round {
            picture,
            again: false,
            unanswered: 0,
        };
        let done = self.all_of(&mut round, &asked).await;
        if self.memory.see_aside(&round.picture.aside, steady) {
            self.aside.send_replace(self.memory.aside());
        }
        done?;
        Ok(match (round.again, round.picture.is_busy()) {
            (true, _) => TRY_AGAIN,
            (false, true) => self.context.timing.round,
            (false, false) => self.context.timing.round * IDLE_FACTOR,
        })
    }

    /// Everything that a round does after reading.
    async fn all_of(&mut self, round: &mut Round, asked: &Asked) -> Result<(), RoundError> {
        self.create_orders(round).await?;
        self.progress(round).await?;
        self.clean_up(round).await?;
        self.end_strays(round);
        let now = round.picture.now;
        let view = self.view(round, asked);
        self.publish_obstacles(&view, now);
        self.context.metrics.see(&view, now);
        let actions = schedule(view, now);
        self.waiting
            .dismiss(actions.iter().filter_map(Action::takes_over));
        for action in actions {
            self.beat.now();
            self.act(round, action).await?;
        }
        let view = self.view(round, asked);
        self.permits.publish(intake(&view), asked);
        Ok(())
    }

    fn publish_obstacles(&self, view: &View, now: Timestamp) {
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

    pub(super) fn runner_context(&self, runner: &RunnerName) -> Option<&RunnerContext> {
        self.context.runners.get(runner)
    }

    fn view(&self, round: &Round, asked: &Asked) -> View {
        let runners = self
            .context
            .runners
            .iter()
            .map(|(name, runner)| RunnerView {
                limit: runner.limit,
                asking: asked.on_their_way.get(name).copied().unwrap_or_default(),
                asked: asked.sent.get(name).copied().unwrap_or_default(),
                request_concurrency: runner.request_concurrency,
                policy: runner.policy.clone(),
                ..round.picture.runner(name, &self.context.timing)
            });
        View {
            concurrent: self.context.concurrent,
            runners: runners.collect(),
        }
    }

    /// Creates an empty order for every worker that reports. An order is created before anything is
    /// asked of the worker, so that no manager ever writes an entry by creating an order (rule 3).
    async fn create_orders(&self, round: &mut Round) -> Result<(), RoundError> {
        let newcomers = round.picture.workers().filter(|(_, worker)| {
            let there = worker.instance.is_some() && !worker.is_terminated();
            let reports = worker.state.stored().is_some() && worker.order.is_absent();
            there && reports && !worker.is_aside()
        });
        let newcomers: Vec<(WorkerId, RunnerName)> = newcomers
            .filter_map(|(id, worker)| Some((id.clone(), worker.runner.clone()?)))
            .collect();
        for (worker, runner) in newcomers {
            self.beat.now();
            let created = self.create_order(round, &worker, &runner).await;
            round.served(&worker, created)?;
        }
        Ok(())
    }

    async fn create_order(
        &self,
        round: &mut Round,
        worker: &WorkerId,
        runner: &RunnerName,
    ) -> Result<(), RoundError> {
        let key = Key::order(worker);
        let order = Order::empty(runner);
        // The next round reads all orders, so a refusal needs no handling here.
        let Some(stored) = create(&*self.context.ledger, &key, order).await? else {
            return Err(RoundError::Refused(key.to_string()));
        };
        tracing::info!(%runner, worker = worker.instance(), "a new worker reports");
        round.picture.put_order(worker, stored);
        Ok(())
    }

    /// Writes a record against the version that this round has read.
    pub(super) async fn write_record(
        &self,
        round: &mut Round,
        job: &JobKey,
        next: Record,
    ) -> Result<(), RoundError> {
        let key = Key::record(job);
        let Some(old) = round.picture.records().get(job) else {
            return Err(RoundError::Refused(key.to_string()));
        };
        let stored = replace(&*self.context.ledger, &key, old, next).await?;
        let stored = stored.ok_or_else(|| RoundError::Refused(key.to_string()))?;
        // No record is written again once it is done, so each job is counted once.
        if let Phase::Done { verdict, .. } = &stored.value.phase {
            self.context.metrics.ended(&job.runner, verdict.ending);
        }
        round.picture.put_record(job, stored);
        Ok(())
    }

    /// Writes an order against the version that this round has read.
    pub(super) async fn write_order(
        &self,
        round: &mut Round,
        worker: &WorkerId,
        change: impl FnOnce(&Order) -> Order,
    ) -> Result<(), RoundError> {
        let key = Key::order(worker);
        let Some(old) = round.picture.order(worker) else {
            return Err(RoundError::Refused(key.to_string()));
        };
        let next = change(&old.value);
        let stored = replace(&*self.context.ledger, &key, old, next).await?;
        let stored = stored.ok_or_else(|| RoundError::Refused(key.to_string()))?;
        round.picture.put_order(worker, stored);
        Ok(())
    }
}
