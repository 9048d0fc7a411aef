//! A small test world: one ledger in memory, a GitLab, machines, managers and workers, each
//! connected by a line of its own that can be held, cut or killed.

mod gitlab;
mod host;
mod line;
mod log;
mod machines;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use onspot_fleet::Policy;
use onspot_ledger::{
    AttemptPhase, JobKey, JobLabel, JobPayload, Key, Ledger, ManagerId, MemoryLedger, Order,
    Record, Restart, RunnerName, State, Stored, WorkPayload, WorkerId, create, read, replace,
};
use onspot_runner::leader::{LeaderContext, RunnerContext, lead};
use onspot_runner::worker::{CachePlace, WorkerContext, work};
use onspot_runner::{Clock, Liveness};
use onspot_settings::Timing;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use gitlab::{FakeGitLab, Report};
pub(crate) use host::Host;
pub(crate) use line::{Gate, Line, Op};
pub(crate) use log::{Execution, Log};
pub(crate) use machines::Machines;

/// The one runner of the world.
pub(crate) fn runner() -> RunnerName {
    RunnerName::new("r")
}

/// The unique id of the workers' role.
pub(crate) const ROLE: &str = "AROA";

/// The worker on the machine `instance`.
pub(crate) fn worker_id(instance: &str) -> WorkerId {
    WorkerId::of(ROLE, instance)
}

/// The key of a job.
pub(crate) fn job(id: u64) -> JobKey {
    JobKey::new(&runner(), id)
}

/// Waits this many seconds.
pub(crate) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Everything.
pub(crate) struct World {
    pub(crate) ledger: Arc<MemoryLedger>,
    pub(crate) gitlab: Arc<FakeGitLab>,
    pub(crate) machines: Arc<Machines>,
    pub(crate) log: Arc<Log>,
    pub(crate) clock: Clock,
    pub(crate) timing: Timing,
    pub(crate) policy: Option<Policy>,
    /// Whether workers shut themselves down when nobody needs them.
    pub(crate) ends_itself: bool,
    /// The liveness of all loops.
    pub(crate) liveness: Liveness,
}

/// A manager or an agent, by the lines through which it acts.
pub(crate) struct Actor {
    pub(crate) line: Line,
    /// Asks it to end in an orderly way.
    pub(crate) shutdown: CancellationToken,
    /// Ends when it does.
    pub(crate) task: JoinHandle<()>,
    pub(crate) connection: Arc<gitlab::Connection>,
    hands: Option<Arc<host::Hands>>,
}

impl Actor {
    /// Crashes it: nothing that it has begun is applied any more, and it tells nobody. Containers
    /// survive.
    pub(crate) fn crash(&self) {
        self.line.kill();
        self.connection.kill();
        if let Some(hands) = &self.hands {
            hands.kill();
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Clock::runtime(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24));
        Self {
            ledger: Arc::new(MemoryLedger::new()),
            gitlab: Arc::new(FakeGitLab::default()),
            machines: Arc::new(Machines::new(clock.clone())),
            log: Arc::new(Log::new(clock.clone())),
            clock,
            timing: Timing::default(),
            policy: None,
            ends_itself: false,
            liveness: Liveness::new(),
        }
    }

    /// Starts a manager.
    pub(crate) fn manager(&self, name: &str) -> Actor {
        let line = Line::new(Arc::clone(&self.ledger));
        let connection = self.gitlab.connect(name, &self.clock);
        let served = RunnerContext {
            source: connection.clone(),
            coordinator: connection.clone(),
            capacity: self.machines.clone(),
            role_id: ROLE.to_owned(),
            policy: self.policy.clone(),
            limit: 0,
            request_concurrency: 1,
            short_token: "short".to_owned(),
        };
        let context = LeaderContext {
            ledger: Arc::new(line.clone()),
            clock: self.clock.clone(),
            timing: self.timing.clone(),
            me: ManagerId::new(name),
            version: "1".to_owned(),
            registry: None,
            concurrent: 10,
            check_interval: Duration::from_secs(3),
            liveness: self.liveness.clone(),
            metrics: Arc::default(),
            last_answer: Duration::from_secs(55),
            runners: BTreeMap::from([(runner(), served)]),
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(lead(Arc::new(context), shutdown.clone()));
        Actor {
            line,
            shutdown,
            task,
            connection,
            hands: None,
        }
    }

    /// Starts a machine and an agent on it.
    pub(crate) fn worker(&self, instance: &str) -> (Arc<Host>, Actor) {
        self.machines.add(instance);
        let host = Arc::new(Host::new(instance, Arc::clone(&self.log)));
        let agent = self.agent(&host);
        (host, agent)
    }

    /// Starts an agent on a machine.
    pub(crate) fn agent(&self, host: &Arc<Host>) -> Actor {
        self.agent_with(host, self.clock.clone())
    }

    /// Starts an agent with its own clock.
    pub(crate) fn agent_with(&self, host: &Arc<Host>, clock: Clock) -> Actor {
        self.start_agent(host, clock, None)
    }

    /// Starts an agent that records its lease for a watchdog.
    pub(crate) fn agent_noting(&self, host: &Arc<Host>, file: &Path) -> Actor {
        self.start_agent(host, self.clock.clone(), Some(file.to_owned()))
    }

    fn start_agent(&self, host: &Arc<Host>, clock: Clock, lease_file: Option<PathBuf>) -> Actor {
        let line = Line::new(Arc::clone(&self.ledger));
        let connection = self.gitlab.connect(&host.name, &self.clock);
        let hands = host.hands();
        let context = WorkerContext {
            ledger: Arc::new(line.clone()),
            clock,
            timing: self.timing.clone(),
            id: worker_id(&host.name),
            version: "1".to_owned(),
            slots: 1,
            max_builds: 0,
            executor: hands.clone(),
            coordinator: connection.clone(),
            cache: CachePlace::None,
            lease_file,
            interruption: watch::channel(None).1,
            liveness: self.liveness.clone(),
            milestones: Vec::new(),
            ends_itself: self.ends_itself,
        };
        let shutdown = CancellationToken::new();
        let work = work(Arc::new(context), shutdown.clone());
        let task = tokio::spawn(async { drop(work.await) });
        Actor {
            line,
            shutdown,
            task,
            connection,
            hands: Some(hands),
        }
    }

    pub(crate) async fn record(&self, id: u64) -> Option<Stored<Record>> {
        read(&*self.ledger, &Key::record(&job(id))).await.unwrap()
    }

    /// Whether this manager leads.
    pub(crate) async fn leads(&self, manager: &str) -> bool {
        let leader = read(&*self.ledger, &Key::leader()).await.unwrap();
        leader.is_some_and(|leader| leader.value.is_led_by(&ManagerId::new(manager)))
    }

    pub(crate) async fn order(&self, instance: &str) -> Option<Stored<Order>> {
        read(&*self.ledger, &Key::order(&worker_id(instance)))
            .await
            .unwrap()
    }

    pub(crate) async fn state(&self, instance: &str) -> Option<Stored<State>> {
        read(&*self.ledger, &Key::state(&worker_id(instance)))
            .await
            .unwrap()
    }

    /// Writes a received job down, as the receiver does.
    pub(crate) async fn write_down(&self, id: u64, restart: Restart) -> Stored<Record> {
        let raw = self.gitlab.take(id);
        let now = self.clock.now();
        let deadline = now + SignedDuration::from_mins(59);
        let record = Record::received(JobLabel::default(), restart, now, deadline);
        let payload = Key::job_payload(&job(id));
        create(&*self.ledger, &payload, JobPayload { raw })
            .await
            .unwrap()
            .unwrap();
        create(&*self.ledger, &Key::record(&job(id)), record)
            .await
            .unwrap()
            .unwrap()
    }

    /// The first of assigning's two writes.
    pub(crate) async fn write_assigned(&self, id: u64, instance: &str) -> Stored<Record> {
        let old = self.record(id).await.unwrap();
        let next = old
            .value
            .assigned(&worker_id(instance), None, self.clock.now())
            .unwrap();
        replace(&*self.ledger, &Key::record(&job(id)), &old, next)
            .await
            .unwrap()
            .unwrap()
    }

    /// Moves a record on to the next attempt by hand.
    pub(crate) async fn write_next_attempt(&self, id: u64, why: &str) {
        let old = self.record(id).await.unwrap();
        let next = old
            .value
            .next_attempt(why, true, None, self.clock.now())
            .unwrap();
        replace(&*self.ledger, &Key::record(&job(id)), &old, next)
            .await
            .unwrap()
            .unwrap();
    }

    /// Writes the payload of an attempt for a worker.
    pub(crate) async fn write_work(&self, id: u64, attempt: u32, instance: &str) {
        let payload = read(&*self.ledger, &Key::job_payload(&job(id)))
            .await
            .unwrap()
            .unwrap();
        let work = WorkPayload {
            attempt,
            deadline: self.clock.now() + SignedDuration::from_mins(59),
            trace: None,
            losses: Vec::new(),
            short_token: String::new(),
            raw: payload.value.raw,
        };
        let key = Key::work(&worker_id(instance), id, attempt);
        create(&*self.ledger, &key, work).await.unwrap();
    }

    /// The second of assigning's two writes, with the payload before it.
    pub(crate) async fn write_run(&self, id: u64, attempt: u32, instance: &str) {
        self.write_work(id, attempt, instance).await;
        self.change_order(instance, |order| order.asked(id, attempt))
            .await;
    }

    /// Changes an order by hand; an absent one is created empty first.
    pub(crate) async fn change_order(&self, instance: &str, change: impl FnOnce(&Order) -> Order) {
        let key = Key::order(&worker_id(instance));
        let old = match self.order(instance).await {
            Some(old) => old,
            None => create(&*self.ledger, &key, Order::empty(&runner()))
                .await
                .unwrap()
                .unwrap(),
        };
        let next = change(&old.value);
        replace(&*self.ledger, &key, &old, next)
            .await
            .unwrap()
            .unwrap();
    }

    /// Changes a state by hand, in the place of its worker.
    pub(crate) async fn change_state(&self, instance: &str, change: impl FnOnce(&mut State)) {
        let key = Key::state(&worker_id(instance));
        let old = self.state(instance).await.unwrap();
        let mut next = old.value.clone();
        change(&mut next);
        replace(&*self.ledger, &key, &old, next)
            .await
            .unwrap()
            .unwrap();
    }

    /// Waits until `holds`, for at most an hour.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        for _ in 0..36_000 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never: {what}");
    }

    /// Lets the manager and the agents settle, pushes a job, and waits until its script runs on a
    /// machine.
    pub(crate) async fn push_and_start(&self, id: u64, instance: &str) {
        seconds(5).await;
        self.gitlab.push(id);
        self.until_started(id, instance).await;
    }

    /// Waits until a job's script runs on a machine.
    pub(crate) async fn until_started(&self, id: u64, instance: &str) {
        let what = format!("job {id} starts on {instance}");
        self.until(&what, async || {
            self.log.runs_on(id).contains(&instance.to_owned())
        })
        .await;
    }

    /// Waits until a worker has stored the result of a job.
    pub(crate) async fn until_result(&self, id: u64, instance: &str) {
        self.until(&format!("{instance} stores the result"), async || {
            let state = self.state(instance).await.unwrap().value;
            let attempt = state.jobs.get(&id);
            attempt.is_some_and(|a| matches!(a.phase, AttemptPhase::Result { .. }))
        })
        .await;
    }

    /// Waits until the job is over and nothing is left of it in the ledger.
    pub(crate) async fn until_cleared(&self, id: u64) {
        self.until_cleared_but_for(id, "").await;
    }

    /// The same, except for the order of one worker.
    pub(crate) async fn until_cleared_but_for(&self, id: u64, instance: &str) {
        self.until(&format!("job {id} is cleared"), async || {
            let orders = self.ledger.list("order/").await.unwrap();
            let mut named = false;
            for listed in orders {
                let worker = Key::worker_of_order(&listed.key).unwrap();
                if worker.instance() == instance {
                    continue;
                }
                let order = read(&*self.ledger, &Key::order(&worker)).await.unwrap();
                named |= order.is_some_and(|order| order.value.entries.contains_key(&id));
            }
            self.gitlab.is_over(id) && !named && self.record(id).await.is_none()
        })
        .await;
    }
}
