//! Letting the executor run an attempt, and doing meanwhile what it, GitLab and the order ask.

use std::sync::Arc;
use std::time::Duration;

use onspot_executor::{Event, JobRun, Outcome, Stop};
use onspot_gitlab::{JobPayload, Remote, RemoteStatus};
use onspot_ledger::{AttemptPhase, Ending, Step, Verdict, WorkPayload};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Interval, MissedTickBehavior};

use super::{AttemptJob, Finish};
use crate::coordinator::Trace;
use crate::worker::WorkerContext;
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
        let (outcome, over) = self.follow(at_work, remote, started).await;
        match outcome {
            Ok(Outcome::Aborted) if over && self.stop.borrow().is_none() => {
                Finish::Verdict(Verdict::canceled())
            }
            Ok(Outcome::Aborted) => Finish::GivenUp(self.why_stopped()),
            // What the watchdog has killed looks like a script that failed (rule 8).
            Ok(Outcome::Failed { .. }) if self.lapsed() => Finish::GivenUp(self.why_stopped()),
            Ok(outcome) => Finish::Verdict(verdict_of(outcome)),
            Err(error) => {
                tracing::error!(job = self.job, %error, "the executor died");
                let message = "the executor ended unexpectedly";
                Finish::Verdict(Verdict::failed("runner_system_failure", message))
            }
        }
    }

    /// Passes events and wishes to stop on until the executor has ended; how, and whether GitLab
    /// had ended the job before.
    async fn follow(
        &mut self,
        mut at_work: AtWork,
        mut outside: Outside<'_>,
        started: &mut bool,
    ) -> (Result<Outcome, JoinError>, bool) {
        let mut over = false;
        loop {
            tokio::select! {
                outcome = &mut at_work.task => return (outcome, over),
                Some(event) = at_work.told.recv() => self.event(event, started).await,
                changed = self.stop.changed() => {
                    let asked = *self.stop.borrow_and_update();
                    let wish = if changed.is_ok() { asked } else { Some(Stop::Abort) };
                    tighten(&at_work.stop, wish);
                }
                remote = outside.news() => match remote {
                    Remote::Canceling => tighten(&at_work.stop, Some(Stop::Cancel)),
                    Remote::Canceled | Remote::Gone => {
                        over = true;
                        tighten(&at_work.stop, Some(Stop::Abort));
                    }
                    Remote::Running | Remote::Superseded => {}
                },
            }
        }
    }

    /// GitLab's limit for the job, but never beyond the deadline of all attempts.
    fn time_left(&self, work: &WorkPayload, payload: &JobPayload) -> Duration {
        let left = self.context.clock.now().duration_until(work.deadline);
        let left = Duration::try_from(left).unwrap_or_default();
        match payload.runner_info.timeout {
            0 => left,
            seconds => left.min(Duration::from_secs(seconds)),
        }
    }

    async fn event(&mut self, event: Event, started: &mut bool) {
        let step = match event {
            Event::Preparing(name) => {
                let (job, attempt) = (self.job, self.attempt);
                self.keeper
                    .note(|state| state.advance(job, attempt, AttemptPhase::Preparing));
                format!("{name}_begins")
            }
            Event::ReadyToStart(answer) => {
                *started = self.may_start(answer).await;
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
        let step = Step::new(step, self.context.clock.now());
        self.keeper
            .note(|state| state.step(self.job, self.attempt, step));
    }

    /// Rule 6: *started* is stored, the order is read again, and only if *run(attempt)* stands
    /// and the lease holds does the script begin.
    async fn may_start(&mut self, answer: oneshot::Sender<bool>) -> bool {
        let (job, attempt) = (self.job, self.attempt);
        let mut stop = self.stop.clone();
        let stored = self
            .keeper
            .store(|state| state.advance(job, attempt, AttemptPhase::Started));
        tokio::select! {
            () = stored => {}
            () = aborted(&mut stop) => return false,
        }
        let order = order_now(&self.context, &mut stop).await;
        let ordered = order.is_some_and(|order| order.runs(job, attempt));
        let start = ordered && !self.lapsed();
        if start {
            tracing::info!(
                job,
                attempt,
                worker = self.context.id.instance(),
                "starting"
            );
        } else {
            tracing::warn!(job, attempt, ordered, "the script is not started");
        }
        // An executor that has gone has ended, and says so itself.
        answer.send(start).is_ok() && start
    }
}

/// What becomes of the job in GitLab. The trace's writer learns it from GitLab's answers; when
/// somebody else writes the trace, GitLab is asked.
///
/// If the attempt is superseded, the order says so; if a deposed leader wrote a late line, only
/// the rest of the trace is lost.
struct Outside<'a> {
    context: &'a WorkerContext,
    payload: &'a JobPayload,
    remote: watch::Receiver<Remote>,
    /// GitLab is asked whenever this ticks.
    probe: Option<Interval>,
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
        }
    }

    /// What is new. Nothing is lost if this is dropped.
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
            let mut probe = tokio::time::interval(self.context.timing.waiting_probe);
            probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
            self.probe = Some(probe);
        }
    }
}

/// Passes a wish to stop on, if it is more urgent than the last one.
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
