//! Machines that run scripts: containers that outlive the agent that started them.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use onspot_executor::{Error as ExecutorError, Event, Executor, JobRun, Outcome, Stop, Swept};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::log::Log;

/// How long a job is prepared.
const PREPARATION: Duration = Duration::from_secs(2);
/// A machine.
pub(crate) struct Host {
    pub(crate) name: String,
    log: Arc<Log>,
    containers: Mutex<Vec<Container>>,
    /// Nothing can be frozen here.
    wild: AtomicBool,
    /// How long a thaw takes.
    slow: Mutex<Duration>,
}

/// A script at work.
struct Container {
    /// Its number in the log.
    number: usize,
    task: AbortHandle,
    frozen: watch::Sender<bool>,
}

impl Host {
    pub(crate) fn new(name: &str, log: Arc<Log>) -> Self {
        Self {
            name: name.to_owned(),
            log,
            containers: Mutex::default(),
            wild: AtomicBool::new(false),
            slow: Mutex::default(),
        }
    }

    /// From now on nothing can be frozen here.
    pub(crate) fn set_wild(&self) {
        self.wild.store(true, Ordering::Relaxed);
    }

    /// From now on a thaw takes so long.
    pub(crate) fn set_slow(&self, slow: Duration) {
        *self.slow.lock() = slow;
    }

    /// Freezes all containers, for an agent or a watchdog.
    pub(crate) fn freeze(&self) -> Result<(), ExecutorError> {
        let containers = self.containers.lock();
        if self.wild.load(Ordering::Relaxed) {
            let containers = containers.len();
            return Err(ExecutorError::NotFrozen { containers });
        }
        for container in containers.iter() {
            self.log.stands_still(container.number);
            container.frozen.send_replace(true);
        }
        Ok(())
    }

    /// Thaws them.
    pub(crate) fn thaw(&self) {
        for container in self.containers.lock().iter() {
            self.log.goes_on(container.number);
            container.frozen.send_replace(false);
        }
    }

    /// An agent's way to this machine's Docker.
    pub(crate) fn hands(self: &Arc<Self>) -> Arc<Hands> {
        Arc::new(Hands {
            host: Arc::clone(self),
            dead: AtomicBool::new(false),
            gate: watch::Sender::new(false),
        })
    }

    /// Kills all containers: by a watchdog, a sweep, or the machine's end. How many there were.
    pub(crate) fn kill_all(&self) -> usize {
        let containers = std::mem::take(&mut *self.containers.lock());
        for container in &containers {
            container.task.abort();
            self.log.ended(container.number);
        }
        containers.len()
    }

    /// Starts a script, as a container that nobody but `kill_all` ends early.
    pub(crate) fn start(self: &Arc<Self>, job: u64, attempt: u32) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        let takes = self.log.takes(job);
        let number = self.log.began(job, attempt, &self.name);
        let host = Arc::clone(self);
        let (frozen, still) = watch::channel(false);
        let task = tokio::spawn(async move {
            work(takes, still).await;
            host.log.ended(number);
            let mut containers = host.containers.lock();
            containers.retain(|known| known.number != number);
            drop(containers);
            let _ = done.send(());
        });
        self.containers.lock().push(Container {
            number,
            task: task.abort_handle(),
            frozen,
        });
        ended
    }
}

/// Works for `left`, not counting the time in which it is frozen.
async fn work(mut left: Duration, mut still: watch::Receiver<bool>) {
    loop {
        let _ = still.wait_for(|still| !still).await;
        let begun = Instant::now();
        tokio::select! {
            () = tokio::time::sleep(left) => return,
            _ = still.wait_for(|still| *still) => left = left.saturating_sub(begun.elapsed()),
        }
    }
}

/// An agent's connection to a machine's Docker. It dies with the agent; the containers do not.
pub(crate) struct Hands {
    host: Arc<Host>,
    dead: AtomicBool,
    /// Closed while the slot is frozen: nothing is begun.
    gate: watch::Sender<bool>,
}

impl Hands {
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    async fn alive(&self) {
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    async fn run_job(&self, run: JobRun) -> Outcome {
        let outcome = self.steps(run).await;
        self.alive().await;
        self.gate.send_replace(false);
        outcome
    }

    async fn steps(&self, mut run: JobRun) -> Outcome {
        let (job, attempt) = (run.payload.id.0, run.attempt);
        let end = Instant::now() + run.timeout;
        tokio::select! {
            () = tokio::time::sleep(PREPARATION) => {}
            stop = stopped(&mut run.stop) => return outcome_of(stop),
        }
        let (answer, start) = oneshot::channel();
        let _ = run.events.send(Event::ReadyToStart(answer)).await;
        let start = start.await.unwrap_or(false);
        self.alive().await;
        if !start {
            return Outcome::Aborted;
        }
        let _ = run.events.send(Event::Started).await;
        let mut gate = self.gate.subscribe();
        tokio::select! {
            _ = gate.wait_for(|closed| !closed) => {}
            stop = stopped(&mut run.stop) => return outcome_of(stop),
        }
        let ended = self.host.start(job, attempt);
        tokio::select! {
            ended = ended => match ended {
                Ok(()) => Outcome::Success,
                Err(_) => Outcome::Failed {
                    reason: onspot_gitlab::FailureReason::ScriptFailure,
                    exit_code: Some(137),
                    message: "killed".to_owned(),
                },
            },
            stop = stopped(&mut run.stop) => {
                self.alive().await;
                self.host.kill_all();
                outcome_of(stop)
            }
            () = tokio::time::sleep_until(end) => {
                self.alive().await;
                self.host.kill_all();
                Outcome::Failed {
                    reason: onspot_gitlab::FailureReason::JobExecutionTimeout,
                    exit_code: None,
                    message: "its time is up".to_owned(),
                }
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    if stop.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
    let stop = *stop.borrow();
    stop.unwrap_or(Stop::Abort)
}

fn outcome_of(stop: Stop) -> Outcome {
    match stop {
        Stop::Cancel => Outcome::Canceled,
        Stop::Abort | Stop::Interrupt => Outcome::Aborted,
    }
}

impl Executor for Hands {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn run(&self, run: JobRun) -> BoxFuture<'_, Outcome> {
        self.run_job(run).boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, Result<Swept, ExecutorError>> {
        async {
            self.alive().await;
            Ok(Swept {
                job_containers: self.host.kill_all(),
                ..Swept::default()
            })
        }
        .boxed()
    }

    fn freeze(&self, _: usize) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async {
            self.alive().await;
            self.gate.send_replace(true);
            self.host.freeze()
        }
        .boxed()
    }

    fn thaw(&self, _: usize) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async {
            self.alive().await;
            let slow = *self.host.slow.lock();
            tokio::time::sleep(slow).await;
            self.host.thaw();
            self.gate.send_replace(false);
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn warm(&self, _: usize) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async { Ok(()) }.boxed()
    }
}
