//! Lets the executor run an attempt, and meanwhile handles its events, GitLab's answers and the
//! order.

use std::sync::Arc;
use std::time::Duration;

use onspot_executor::{Event, JobRun, Outcome, Stop};
use onspot_gitlab::{JobPayload, Remote, RemoteStatus};
use onspot_ledger::{AttemptPhase, Ending, Verdict, WorkPayload};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Interval, MissedTickBehavior};

use super::{AttemptJob, Finish};
use crate::coordinator::Trace;
use crate::worker::WorkerContext;
use crate::worker::keeper::Keeper;
use crate::worker::result::{aborted, order_now};

/// An executor at work.
struct AtWork {
    task: JoinHandle<Outcome>,
    told: mpsc::Receiver<Event>,
    stop: watch::Sender<Option<Stop>>,
}

impl AttemptJob {
    /// Lets the executor run until it has ended.
    pub(super) async fn execute(
        &mut self,
        work: &WorkPayload,
        payload: &Arc<JobPayload>,
        trace: &dyn Trace,
        started: &mut bool,
    ) -> Finish {
        let (events, told) = mpsc::channel(64);
        let stop = watch::Sender::new(*self.stop.borrow_and_update());
        let run = JobRun {
            payload: Arc::clone(payload),
            slot: self.slot,
            short_token: work.short_token.clone(),
            attempt: self.attempt,
            trace: trace.writer(),
            cache: self.context.cache.access(payload, &work.short_token),
            timeout: self.time_left(work, payload),
            stop: stop.subscribe(),
            events,
        };
        let executor = Arc::clone(&self.context.executor);
        let task = tokio::spawn(async move { executor.run(run).await });
        let context = Arc::clone(&self.context);
        let remote = Outside::new(&context, payload, trace.remote());
        let at_work = AtWork { task, told, stop };
        let (outcome, over) = self.follow(at_work, remote, trace, started).await;
        match outcome {
            Ok(Outcome::Aborted) if over && !self.is_given_up() => {
                Finish::Verdict(Verdict::canceled())
            }
            Ok(Outcome::Aborted) => Finish::GivenUp(self.why_stopped()),
            // A script that the watchdog has killed looks like one that failed (rule 8).
            Ok(Outcome::Failed { .. }) if self.was_killed().await => {
                Finish::GivenUp(self.why_stopped())
            }
            Ok(outcome) => Finish::Verdict(verdict_of(outcome)),
            Err(error) => {
                tracing::error!(job = self.job, %error, "the executor died");
                let message = "the executor ended unexpectedly";
                Finish::Verdict(Verdict::failed("runner_system_failure", message))
            }
        }
    }

    /// Passes on events and requests to stop until the executor has ended. Returns how it ended,
    /// and whether GitLab had ended the job before.
    async fn follow(
        &mut self,
        mut at_work: AtWork,
        mut outside: Outside<'_>,
        trace: &dyn Trace,
        started: &mut bool,
    ) -> (Result<Outcome, JoinError>, bool) {
        let mut over = false;
        outside.ask_if(self.stood_since.is_some());
        loop {
            tokio::select! {
                outcome = &mut at_work.task => return (outcome, over),
                Some(event) = at_work.told.recv() => {
                    self.event(event, trace, started).await;
                    outside.ask_if(self.stood_since.is_some());
                }
                changed = self.stop.changed() => {
                    let asked = *self.stop.borrow_and_update();
                    let wish = if changed.is_ok() { asked } else { Some(Stop::Abort) };
                    tighten(&at_work.stop, wish);
                }
                Ok(()) = self.frozen.changed() => {
                    self.heed(trace);
                    outside.ask_if(self.stood_since.is_some());
                }
                remote = outside.news() => match remote {
                    // A frozen job can't run `after_script` either, so it ends without.
                    Remote::Canceling if self.frozen.borrow().is_none() => {
                        tighten(&at_work.stop, Some(Stop::Cancel));
                    }
                    Remote::Canceling | Remote::Canceled | Remote::Gone => {
                        over = true;
                        tighten(&at_work.stop, Some(Stop::Abort));
                    }
                    Remote::Running | Remote::Superseded => {}
                },
            }
        }
    }

    /// Whether the agent wants it killed and not just cancelled.
    fn is_given_up(&self) -> bool {
        matches!(*self.stop.borrow(), Some(Stop::Abort | Stop::Interrupt))
    }

    /// GitLab's time limit for the job, but never beyond the deadline of all attempts.
    fn time_left(&self, work: &WorkPayload, payload: &JobPayload) -> Duration {
        let left = self.context.clock.now().duration_until(work.deadline);
        let left = Duration::try_from(left).unwrap_or_default();
        match payload.runner_info.timeout {
            0 => left,
            seconds => left.min(Duration::from_secs(seconds)),
        }
    }

    async fn event(&mut self, event: Event, trace: &dyn Trace, started: &mut bool) {
        let step = match event {
            Event::Preparing(name) => {
                let (job, attempt) = (self.job, self.attempt);
                self.keeper
                    .note(|state| state.advance(job, attempt, AttemptPhase::Preparing));
                format!("{name}_begins")
            }
            Event::ReadyToStart(answer) => {
                *started = self.may_start(answer, trace).await;
                "ready".to_owned()
            }
            Event::Started => "script".to_owned(),
            Event::ScriptDone { exit_code } => {
                tracing::info!(job = self.job, exit_code, "the script has ended");
                "script_done".to_owned()
            }
            Event::CacheSaved { key, bytes } => {
                tracing::info!(job = self.job, key, bytes, "cache saved");
                "cache_saved".to_owned()
            }
            Event::ArtifactUploaded { name, bytes } => {
                tracing::info!(job = self.job, name, bytes, "artifact uploaded");
                "artifact_uploaded".to_owned()
            }
            Event::Step { name, duration } => {
                let took_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(job = self.job, step = name, took_ms, "step done");
                name
            }
        };
        self.note_step(&step);
    }

    /// Rule 6: stores *started* and reads the order again. The script begins only if the order says
    /// *run(attempt)* and the lease has held all that time.
    async fn may_start(&mut self, answer: oneshot::Sender<bool>, trace: &dyn Trace) -> bool {
        let (job, attempt) = (self.job, self.attempt);
        let (context, keeper) = (Arc::clone(&self.context), self.keeper.clone());
        let stop = self.stop.clone();
        let deciding = is_to_start(&context, &keeper, (job, attempt), stop);
        let mut deciding = std::pin::pin!(deciding);
        let start = loop {
            tokio::select! {
                start = &mut deciding => break start,
                Ok(()) = self.frozen.changed() => self.heed(trace),
            }
        };
        if start {
            tracing::info!(job, attempt, worker = context.id.instance(), "starting");
        } else {
            tracing::warn!(job, attempt, "the script is not started");
        }
        // If the executor is gone, it has ended, and its result says so.
        answer.send(start).is_ok() && start
    }
}

/// Stores *started*; returns whether the order then says *run(attempt)*, by an order that was
/// requested and read while the lease held.
async fn is_to_start(
    context: &WorkerContext,
    keeper: &Keeper,
    (job, attempt): (u64, u32),
    mut stop: watch::Receiver<Option<Stop>>,
) -> bool {
    let stored = keeper.store(|state| state.advance(job, attempt, AttemptPhase::Started));
    tokio::select! {
        () = stored => {}
        () = aborted(&mut stop) => return false,
    }
    loop {
        let asked_in = keeper.tenure();
        let order = order_now(context, &mut stop).await;
        if !order.is_some_and(|order| order.runs(job, attempt)) {
            return false;
        }
        if asked_in.is_some() && asked_in == keeper.tenure() {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(context.timing.order_poll) => {}
            () = aborted(&mut stop) => return false,
        }
    }
}

/// The job's status in GitLab. The trace's writer learns it from GitLab's answers; if somebody else
/// writes the trace, GitLab is asked.
///
/// If another attempt has replaced this one, the order says so. If a deposed leader wrote a late
/// line, only the rest of the trace is lost.
struct Outside<'a> {
    context: &'a WorkerContext,
    payload: &'a JobPayload,
    remote: watch::Receiver<Remote>,
    /// GitLab is asked whenever this ticks.
    probe: Option<Interval>,
    superseded: bool,
}

impl<'a> Outside<'a> {
    fn new(
        context: &'a WorkerContext,
        payload: &'a JobPayload,
        remote: watch::Receiver<Remote>,
    ) -> Self {
        Self {
            context,
            payload,
            remote,
            probe: None,
            superseded: false,
        }
    }

    /// Asks GitLab while the attempt is frozen, because its trace's writer is held then.
    fn ask_if(&mut self, frozen: bool) {
        if !frozen && !self.superseded {
            self.probe = None;
        } else if self.probe.is_none() {
            let mut probe = tokio::time::interval(self.context.timing.waiting_probe);
            probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
            self.probe = Some(probe);
        }
    }

    /// The next change of the status. Dropping this future loses nothing.
    async fn news(&mut self) -> Remote {
        loop {
            if let Some(probe) = &mut self.probe {
                probe.tick().await;
                match self.context.coordinator.keep_alive(self.payload).await {
                    Ok(RemoteStatus::Running) => {}
                    Ok(RemoteStatus::Canceling) => return Remote::Canceling,
                    Ok(RemoteStatus::Canceled | RemoteStatus::Failed) => return Remote::Canceled,
                    Err(error) => {
                        tracing::warn!(job = self.payload.id.0, %error, "GitLab does not answer");
                    }
                }
                continue;
            }
            let listening = self.remote.changed().await.is_ok();
            let now = *self.remote.borrow_and_update();
            if listening && now != Remote::Superseded {
                return now;
            }
            tracing::warn!(job = self.payload.id.0, "the trace is not ours any more");
            self.superseded = true;
            self.ask_if(true);
        }
    }
}

/// Passes on a request to stop, if it is more urgent than the last one.
fn tighten(stop: &watch::Sender<Option<Stop>>, wish: Option<Stop>) {
    let urgency = |stop: Option<Stop>| match stop {
        None => 0,
        Some(Stop::Cancel) => 1,
        Some(Stop::Interrupt | Stop::Abort) => 2,
    };
    stop.send_if_modified(|known| {
        let tighter = urgency(wish) > urgency(*known);
        if tighter {
            *known = wish;
        }
        tighter
    });
}

fn verdict_of(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Success => Verdict::success(),
        Outcome::Failed {
            reason,
            exit_code,
            message,
        } => Verdict {
            ending: Ending::Failed,
            failure_reason: Some(reason.as_str().to_owned()),
            exit_code,
            message: Some(message),
        },
        Outcome::Canceled | Outcome::Aborted => Verdict::canceled(),
    }
}
