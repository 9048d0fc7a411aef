//! One attempt of one job, from its acceptance to GitLab's knowing how it ended.

use std::sync::Arc;
use std::time::Duration;

use onspot_executor::{Event, JobRun, Outcome, Stop};
use onspot_gitlab::{AssignedJob, JobPayload, Remote, TraceWriter, ansi};
use onspot_ledger::{AttemptPhase, Ending, Key, Step, TraceMark, Verdict, WorkPayload, read};
use tokio::sync::{mpsc, oneshot, watch};

use super::WorkerContext;
use super::keeper::Keeper;
use super::result::{aborted, order_now, tell};
use crate::coordinator::Trace;

/// Between two tries to reach GitLab or the ledger.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// The attempt's task is over; everything else is in the state.
#[derive(Debug)]
pub(crate) struct Ended;

/// One attempt, and what its task works with.
pub(crate) struct AttemptJob {
    pub context: Arc<WorkerContext>,
    pub keeper: Keeper,
    pub job: u64,
    pub attempt: u32,
    pub slot: usize,
    pub stop: watch::Receiver<Option<Stop>>,
}

/// How the run came to its end, as the ledger is told.
enum Finish {
    Verdict(Verdict),
    GivenUp(String),
}

impl AttemptJob {
    /// Runs the attempt.
    pub(crate) async fn run(mut self) -> Ended {
        let mut stop = self.stop.clone();
        let fetched = tokio::select! {
            fetched = self.fetch() => fetched,
            () = aborted(&mut stop) => Err(Finish::GivenUp(self.why_stopped())),
        };
        let (work, payload) = match fetched {
            Ok(fetched) => fetched,
            Err(Finish::GivenUp(why)) => return self.give_up(false, why).await,
            Err(Finish::Verdict(verdict)) => return self.end_unrun(verdict).await,
        };
        let opened = tokio::select! {
            opened = self.open_trace(&payload, work.trace) => opened,
            () = aborted(&mut stop) => {
                let why = self.why_stopped();
                return self.give_up(false, why).await;
            }
        };
        let Some(trace) = opened else {
            // GitLab has ended the job: the report is a formality that ends it in the ledger.
            return self.conclude(&payload, Verdict::canceled(), None).await;
        };
        self.write_head(&work, &trace.writer());
        let mut started = false;
        let finish = self.execute(&work, &payload, &*trace, &mut started).await;
        match finish {
            Finish::Verdict(verdict) => self.conclude(&payload, verdict, Some(trace)).await,
            Finish::GivenUp(why) => {
                if *self.stop.borrow() == Some(Stop::Interrupt) {
                    trace
                        .writer()
                        .line(&ansi::warning(&format!("This attempt ends here: {why}")));
                    trace.close().await;
                }
                self.give_up(started, why).await
            }
        }
    }

    /// What the leader laid ready: written before the order, so it is there unless the order has
    /// been released since.
    async fn fetch(&self) -> Result<(WorkPayload, Arc<JobPayload>), Finish> {
        let key = Key::work(&self.context.id, self.job, self.attempt);
        let work = loop {
            match read(&*self.context.ledger, &key).await {
                Ok(Some(stored)) => break stored.value,
                Ok(None) => return Err(Finish::GivenUp("its payload is gone".to_owned())),
                Err(error) => tracing::warn!(job = self.job, %error, "no payload yet"),
            }
            tokio::time::sleep(TRY_AGAIN).await;
        };
        match AssignedJob::parse(work.raw.clone()) {
            Ok(assigned) => Ok((work, Arc::new(assigned.job))),
            Err(error) => {
                let message = format!("the job can't be read: {error}");
                Err(Finish::Verdict(Verdict::failed(
                    "runner_system_failure",
                    message,
                )))
            }
        }
    }

    /// Becomes the trace's writer; `None` if the job is over in GitLab.
    async fn open_trace(
        &self,
        payload: &JobPayload,
        mark: Option<TraceMark>,
    ) -> Option<Box<dyn Trace>> {
        loop {
            match self.context.coordinator.open_trace(payload, mark).await {
                Ok(trace) => return Some(trace),
                Err(onspot_gitlab::Error::TraceOver { .. }) => return None,
                Err(error) => {
                    tracing::warn!(job = self.job, %error, "the trace can't be written yet");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    /// Says where the job runs, and after a loss, what happened.
    fn write_head(&self, work: &WorkPayload, writer: &TraceWriter) {
        let instance = self.context.id.instance();
        match work.losses.last() {
            None => writer.info(&format!(
                "Running on worker {instance} with onspot {}",
                self.context.version
            )),
            Some(loss) => {
                let title = format!("{loss}; attempt {} runs on worker {instance}", self.attempt);
                writer.section_start("onspot_attempt", &title, false);
                for (number, loss) in (1..).zip(&work.losses) {
                    writer.line(&format!("attempt {number}: {loss}"));
                }
                writer.section_end("onspot_attempt");
            }
        }
    }

    /// Lets the executor run, and does what it, GitLab and the order ask meanwhile.
    async fn execute(
        &mut self,
        work: &WorkPayload,
        payload: &Arc<JobPayload>,
        trace: &dyn Trace,
        started: &mut bool,
    ) -> Finish {
        let (events, mut told) = mpsc::channel(64);
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
        let mut task = tokio::spawn(async move { executor.run(run).await });
        let mut remote = trace.remote();
        let (mut over, mut listening) = (false, true);
        let outcome = loop {
            tokio::select! {
                outcome = &mut task => break outcome,
                Some(event) = told.recv() => self.event(event, started).await,
                changed = self.stop.changed() => {
                    let asked = *self.stop.borrow_and_update();
                    tighten(&stop, if changed.is_ok() { asked } else { Some(Stop::Abort) });
                }
                changed = remote.changed(), if listening => {
                    listening = changed.is_ok();
                    match *remote.borrow_and_update() {
                        Remote::Running => {}
                        Remote::Canceling => tighten(&stop, Some(Stop::Cancel)),
                        Remote::Canceled | Remote::Gone => {
                            over = true;
                            tighten(&stop, Some(Stop::Abort));
                        }
                        // If the attempt is superseded, the order says so; if a deposed leader
                        // wrote a late line, only the rest of the trace is lost.
                        Remote::Superseded => {
                            tracing::warn!(job = self.job, "somebody else writes the trace");
                        }
                    }
                }
            }
        };
        match outcome {
            Ok(Outcome::Aborted) if over && self.stop.borrow().is_none() => {
                Finish::Verdict(Verdict::canceled())
            }
            Ok(Outcome::Aborted) => Finish::GivenUp(self.why_stopped()),
            Ok(outcome) => Finish::Verdict(verdict_of(outcome)),
            Err(error) => {
                tracing::error!(job = self.job, %error, "the executor died");
                let message = "the executor ended unexpectedly";
                Finish::Verdict(Verdict::failed("runner_system_failure", message))
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
        let start = ordered && self.keeper.lease_holds();
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

    /// Rule 7: the result is stored before GitLab is told.
    async fn conclude(
        mut self,
        payload: &JobPayload,
        verdict: Verdict,
        trace: Option<Box<dyn Trace>>,
    ) -> Ended {
        let (job, attempt) = (self.job, self.attempt);
        let result = AttemptPhase::Result {
            verdict: verdict.clone(),
        };
        let step = Step::new("result", self.context.clock.now());
        self.keeper
            .store(|state| {
                state.advance(job, attempt, result);
                state.step(job, attempt, step);
            })
            .await;
        let mark = match trace {
            Some(trace) => tokio::select! {
                mark = trace.close() => mark,
                () = aborted(&mut self.stop) => None,
            },
            None => None,
        };
        let of = (job, attempt);
        tell(
            &self.context,
            &self.keeper,
            of,
            payload,
            &verdict,
            mark,
            &mut self.stop,
        )
        .await;
        Ended
    }

    /// Ends a job whose payload can't be read: only its id and token are known.
    async fn end_unrun(self, verdict: Verdict) -> Ended {
        let key = Key::work(&self.context.id, self.job, self.attempt);
        let raw = match read(&*self.context.ledger, &key).await {
            Ok(Some(stored)) => stored.value.raw,
            Ok(None) | Err(_) => return self.give_up(false, "its payload is gone".into()).await,
        };
        let token = raw
            .get("token")
            .and_then(|token| token.as_str())
            .unwrap_or_default();
        let payload = JobPayload {
            id: onspot_gitlab::JobId(self.job),
            token: onspot_gitlab::JobToken::new(token),
            ..JobPayload::default()
        };
        self.conclude(&payload, verdict, None).await
    }

    async fn give_up(self, started: bool, why: String) -> Ended {
        let (job, attempt) = (self.job, self.attempt);
        tracing::warn!(job, attempt, why, "given up");
        self.keeper
            .store(|state| state.advance(job, attempt, AttemptPhase::GivenUp { started, why }))
            .await;
        Ended
    }

    fn why_stopped(&self) -> String {
        let interrupted = self.context.interruption.borrow().is_some();
        let why = match *self.stop.borrow() {
            Some(Stop::Interrupt) if interrupted => "its instance is being taken away",
            Some(Stop::Interrupt) => "its worker was stopped",
            _ if !self.keeper.lease_holds() => "its worker's lease has ended",
            _ => "it was taken back",
        };
        why.to_owned()
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
