//! Machines that run scripts: containers that outlive the agent that started them, and a log of
//! every script that ever ran.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use onspot_executor::{Event, Executor, ExecutorError, JobRun, Outcome, Stop, Swept};
use onspot_runner::Clock;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

/// How long a job is prepared.
const PREPARATION: Duration = Duration::from_secs(2);
/// How long a script runs, if nothing else is said.
const SCRIPT: Duration = Duration::from_mins(1);

/// One run of one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) job: u64,
    pub(crate) attempt: u32,
    pub(crate) host: String,
    pub(crate) from: Duration,
    pub(crate) to: Option<Duration>,
}

/// Every script that ever ran.
pub(crate) struct Log {
    clock: Clock,
    executions: Mutex<Vec<Execution>>,
    scripts: Mutex<BTreeMap<u64, Duration>>,
}

impl Log {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            executions: Mutex::default(),
            scripts: Mutex::default(),
        }
    }

    /// Sets how long a job's script runs.
    pub(crate) fn set_script(&self, job: u64, takes: Duration) {
        self.scripts.lock().unwrap().insert(job, takes);
    }

    pub(crate) fn executions(&self, job: u64) -> Vec<Execution> {
        let executions = self.executions.lock().unwrap();
        executions
            .iter()
            .filter(|execution| execution.job == job)
            .cloned()
            .collect()
    }

    /// Where a job's script has run, in this order.
    pub(crate) fn runs_on(&self, job: u64) -> Vec<String> {
        self.executions(job)
            .into_iter()
            .map(|execution| execution.host)
            .collect()
    }

    /// Whether a job's script ever ran twice at once (S1).
    pub(crate) fn overlaps(&self, job: u64) -> bool {
        let mut executions = self.executions(job);
        executions.sort_by_key(|execution| execution.from);
        executions
            .windows(2)
            .any(|pair| pair[0].to.is_none_or(|to| to > pair[1].from))
    }

    fn began(&self, job: u64, attempt: u32, host: &str) -> usize {
        let mut executions = self.executions.lock().unwrap();
        let (from, host) = (self.clock.steady(), host.to_owned());
        executions.push(Execution {
            job,
            attempt,
            host,
            from,
            to: None,
        });
        executions.len() - 1
    }

    fn ended(&self, number: usize) {
        let now = self.clock.steady();
        self.executions.lock().unwrap()[number]
            .to
            .get_or_insert(now);
    }
}

/// A machine.
pub(crate) struct Host {
    pub(crate) name: String,
    log: Arc<Log>,
    containers: Mutex<Vec<(usize, AbortHandle)>>,
}

impl Host {
    pub(crate) fn new(name: &str, log: Arc<Log>) -> Self {
        Self {
            name: name.to_owned(),
            log,
            containers: Mutex::default(),
        }
    }

    /// An agent's way to this machine's Docker.
    pub(crate) fn hands(self: &Arc<Self>) -> Arc<Hands> {
        Arc::new(Hands {
            host: Arc::clone(self),
            dead: AtomicBool::new(false),
        })
    }

    /// Kills all containers: by a watchdog, a sweep, or the machine's end. How many there were.
    pub(crate) fn kill_all(&self) -> usize {
        let containers = std::mem::take(&mut *self.containers.lock().unwrap());
        for (number, task) in &containers {
            task.abort();
            self.log.ended(*number);
        }
        containers.len()
    }

    /// Starts a script, as a container that nobody but `kill_all` ends early.
    pub(crate) fn start(self: &Arc<Self>, job: u64, attempt: u32) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        let takes = self
            .log
            .scripts
            .lock()
            .unwrap()
            .get(&job)
            .copied()
            .unwrap_or(SCRIPT);
        let number = self.log.began(job, attempt, &self.name);
        let host = Arc::clone(self);
        let task = tokio::spawn(async move {
            tokio::time::sleep(takes).await;
            host.log.ended(number);
            host.containers
                .lock()
                .unwrap()
                .retain(|(known, _)| *known != number);
            let _ = done.send(());
        });
        self.containers
            .lock()
            .unwrap()
            .push((number, task.abort_handle()));
        ended
    }
}

/// An agent's way to a machine's Docker; dies with the agent, the containers do not.
pub(crate) struct Hands {
    host: Arc<Host>,
    dead: AtomicBool,
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

    async fn run_job(&self, mut run: JobRun) -> Outcome {
        let (job, attempt) = (run.payload.id.0, run.attempt);
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
        let ended = self.host.start(job, attempt);
        let outcome = tokio::select! {
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
        };
        self.alive().await;
        outcome
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

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn warm(&self, _: usize) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async { Ok(()) }.boxed()
    }
}
