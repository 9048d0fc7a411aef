//! One attempt of one job, from its acceptance until GitLab knows the result.

use std::sync::Arc;
use std::time::Duration;

use onspot_executor::Stop;
use onspot_gitlab::{AssignedJob, JobPayload, TraceWriter, ansi};
use onspot_ledger::{AttemptPhase, Key, Step, TraceMark, Verdict, WorkPayload, read};
use onspot_notation::duration;
use tokio::sync::watch;

use super::WorkerContext;
use super::keeper::Keeper;
use super::notes::Notes;
use super::result::{aborted, bare_payload, tell};
use crate::coordinator::Trace;

mod execute;

/// The pause between two tries to reach GitLab or the ledger.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// How long an interrupted attempt's last line may take. The worker must store that it gave the
/// attempt up well before the machine is interrupted.
const LAST_LINE: Duration = Duration::from_secs(10);

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
    /// Since when it is frozen: nothing of it may run, and GitLab may hear nothing of it.
    pub frozen: watch::Receiver<Option<Duration>>,
    /// Since when it is frozen, as far as its task has noticed.
    pub stood_since: Option<Duration>,
    /// When the attempt was taken, on the steady clock.
    pub taken: Duration,
    /// How often the lease had ended when the attempt was taken.
    pub lapses: u64,
}

/// How the run ended, for the ledger.
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
        self.heed(&*trace);
        self.write_head(&work, &trace.writer());
        let mut started = false;
        let finish = self.execute(&work, &payload, &*trace, &mut started).await;
        match finish {
            Finish::Verdict(verdict) => self.conclude(&payload, verdict, Some(trace)).await,
            Finish::GivenUp(why) => {
                // Another worker may be writing the trace of a frozen attempt.
                let is_ours = self.frozen.borrow().is_none();
                if is_ours && *self.stop.borrow() == Some(Stop::Interrupt) {
                    trace
                        .writer()
                        .line(&ansi::warning(&format!("This attempt ends here: {why}")));
                    if tokio::time::timeout(LAST_LINE, trace.close())
                        .await
                        .is_err()
                    {
                        tracing::warn!(job = self.job, "the trace's end could not be sent in time");
                    }
                } else {
                    drop(trace);
                }
                self.give_up(started, why).await
            }
        }
    }

    /// Fetches the attempt's payload. The leader writes it before the order, so it exists unless
    /// the order has been released since.
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
        let mut frozen = self.frozen.clone();
        loop {
            moves(&mut frozen).await;
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

    /// Writes where the job runs and, after a loss, what happened.
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
            Some(trace) => {
                let mut stop = self.stop.clone();
                tokio::select! {
                    mark = self.close_trace(trace) => mark,
                    () = aborted(&mut stop) => None,
                }
            }
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

    /// Sends the rest of the trace, once it is known who owns it.
    async fn close_trace(&mut self, trace: Box<dyn Trace>) -> Option<TraceMark> {
        moves(&mut self.frozen.clone()).await;
        self.heed(&*trace);
        trace.close().await
    }

    /// Checks whether the attempt is frozen. Its trace is then held too, because another worker may
    /// be writing it. When the attempt continues, the trace says so.
    fn heed(&mut self, trace: &dyn Trace) {
        let frozen = *self.frozen.borrow_and_update();
        match (self.stood_since, frozen) {
            (None, Some(_)) => {
                trace.hold(true);
                self.note_step("frozen");
            }
            (Some(since), None) => {
                let stood = self.context.clock.steady().saturating_sub(since);
                let stood = Duration::from_secs(stood.as_secs().max(1));
                let stood = duration::brief(stood);
                trace.writer().warning(&format!(
                    "This job stood still for {stood}: its worker could not renew its lease, as its \
                     store did not answer or the machine was suspended."
                ));
                trace.hold(false);
                tracing::info!(job = self.job, stood, "goes on after it stood still");
                self.note_step("thawed");
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        self.stood_since = frozen;
    }

    fn note_step(&self, name: &str) {
        let step = Step::new(name, self.context.clock.now());
        self.keeper
            .note(|state| state.step(self.job, self.attempt, step));
    }

    /// Ends a job whose payload can't be read: only its id and token are known.
    async fn end_unrun(self, verdict: Verdict) -> Ended {
        let key = Key::work(&self.context.id, self.job, self.attempt);
        let raw = match read(&*self.context.ledger, &key).await {
            Ok(Some(stored)) => stored.value.raw,
            Ok(None) | Err(_) => return self.give_up(false, "its payload is gone".into()).await,
        };
        let payload = bare_payload(self.job, &raw);
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
            _ if self.lapsed() => "its worker's lease has ended",
            _ => "it was taken back",
        };
        why.to_owned()
    }

    /// Whether the lease has ended since the attempt was taken, renewed or not.
    fn lapsed(&self) -> bool {
        self.keeper.lapses() > self.lapses || !self.keeper.lease_holds()
    }

    /// Whether the watchdog has killed its containers.
    async fn was_killed(&self) -> bool {
        let Some(file) = &self.context.lease_file else {
            return false;
        };
        let killed = Notes::beside(file).killed().await;
        killed.is_some_and(|killed| killed >= self.taken)
    }
}

/// Waits until an attempt is not frozen.
async fn moves(frozen: &mut watch::Receiver<Option<Duration>>) {
    // The agent is gone, and ends this task with it.
    if frozen.wait_for(Option::is_none).await.is_err() {
        std::future::pending::<()>().await;
    }
}
