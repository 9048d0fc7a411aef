//! Random faults over everything: managers and agents crash, machines end, lines are held, cut
//! and lose answers, users cancel. Whatever happens, the four safety properties and liveness
//! hold:
//!
//! * **S1** No script runs twice at once. A frozen script does not run.
//! * **S2** GitLab never gets two different results.
//! * **S3** Nothing runs after GitLab knows a result.
//! * **S4** A job that must not be started twice is not.
//! * **L** Every job ends in GitLab and leaves nothing in the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onspot_executor::Executor as _;
use onspot_fleet::{Lifecycle, Policy};
use onspot_runner::{Liveness, freeze_limit, watchdog};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use crate::world::{Actor, Gate, Host, Op, World, seconds};

mod judge;

/// How many simulations run; `ONSPOT_STORIES` asks for more. Each takes a quarter of an hour of
/// simulated time and a quarter of a second of real time.
const STORIES: u64 = 20;
/// How long faults go on.
const TROUBLE: u64 = 900;
/// Everything must have ended by then.
const PATIENCE: u64 = 3 * 3600;
/// The jobs, which are pushed one after the other.
const JOBS: u64 = 8;
/// The one that must not be started twice, and the one that is never cancelled.
const NEVER: u64 = 2;
const KEPT: u64 = 1;
/// The time between two of them.
const PUSHES: u64 = 100;
/// How long a machine boots.
const BOOT: u64 = 20;

#[test]
fn no_schedule_of_faults_breaks_a_promise() {
    let asked = std::env::var("ONSPOT_STORIES")
        .ok()
        .and_then(|text| text.parse().ok());
    for seed in 0..asked.unwrap_or(STORIES) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async { Story::new(seed).tell().await });
    }
}

/// A machine with its agent and its watchdog.
struct Inhabited {
    host: Arc<Host>,
    agent: Actor,
    /// Until when the agent's lease runs, as its watchdog knows.
    watchdog: CancellationToken,
    folder: tempfile::TempDir,
}

struct Story {
    seed: u64,
    dice: StdRng,
    world: World,
    managers: Vec<Actor>,
    started: u32,
    machines: BTreeMap<String, Inhabited>,
    gates: Vec<(u64, Gate)>,
    booting: Vec<(u64, String)>,
    /// Machines that EC2 does not list, and the end of that.
    unlisted: Vec<(u64, String)>,
    told: Vec<String>,
}

impl Story {
    fn new(seed: u64) -> Self {
        // The clock is the runtime's, so the world is made inside of it.
        let mut world = World::new();
        world.policy = Some(Policy {
            limit: 4,
            idle_time: Duration::from_mins(1),
            lifecycle: Lifecycle::Spot,
            ..Policy::default()
        });
        Self {
            seed,
            dice: StdRng::seed_from_u64(seed),
            world,
            managers: Vec::new(),
            started: 0,
            machines: BTreeMap::new(),
            gates: Vec::new(),
            booting: Vec::new(),
            unlisted: Vec::new(),
            told: Vec::new(),
        }
    }

    async fn tell(mut self) {
        self.start_manager();
        self.start_manager();
        for job in 1..=JOBS {
            let takes = self.dice.random_range(5..200);
            self.world.log.set_script(job, Duration::from_secs(takes));
        }
        for second in 0..TROUBLE {
            if second % PUSHES == 0 && second / PUSHES < JOBS {
                self.push(second / PUSHES + 1);
            }
            if self.dice.random_ratio(1, 20) {
                self.fault(second);
            }
            self.second(second).await;
        }
        // From here on there are no more faults, and missing managers and agents are replaced.
        for (_, gate) in std::mem::take(&mut self.gates) {
            gate.open();
        }
        self.start_manager();
        for second in TROUBLE..PATIENCE {
            self.second(second).await;
            if second % 30 == 0 && self.is_over().await {
                break;
            }
        }
        self.judge().await;
    }

    fn push(&self, job: u64) {
        let never: &[_] = if job == NEVER {
            &[("ONSPOT_RESTART", "never")]
        } else {
            &[]
        };
        self.world.gitlab.push_with(job, never);
    }

    /// Everything that happens by itself in one second.
    async fn second(&mut self, now: u64) {
        for (until, gate) in &self.gates {
            if *until <= now {
                gate.open();
            }
        }
        self.gates.retain(|(until, _)| *until > now);
        for (_, name) in self.unlisted.extract_if(.., |(until, _)| *until <= now) {
            self.world.machines.list_again(&name);
        }
        self.booting.extend(
            self.world
                .machines
                .bought()
                .into_iter()
                .map(|m| (now + BOOT, m)),
        );
        let (up, booting) = self.booting.drain(..).partition(|(at, _)| *at <= now);
        self.booting = booting;
        let up: Vec<(u64, String)> = up;
        let live = self.world.machines.live();
        for (_, name) in up {
            if live.contains(&name) {
                self.inhabit(&name);
            }
        }
        // Terminated machines lose everything on them.
        let gone: Vec<String> = self
            .machines
            .keys()
            .filter(|name| !live.contains(name))
            .cloned()
            .collect();
        for name in gone {
            self.end(&name);
        }
        seconds(1).await;
    }

    fn inhabit(&mut self, name: &str) {
        self.world.machines.boot(name);
        let host = Arc::new(Host::new(name, Arc::clone(&self.world.log)));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lease");
        let agent = self.world.agent_noting(&host, &file);
        let watchdog = self.watch(&host, &file);
        self.machines.insert(
            name.to_owned(),
            Inhabited {
                host,
                agent,
                watchdog,
                folder,
            },
        );
    }

    fn watch(&self, host: &Arc<Host>, file: &std::path::Path) -> CancellationToken {
        let (host, file) = (Arc::clone(host), file.to_owned());
        let (clock, stop) = (self.world.clock.clone(), CancellationToken::new());
        let limit = freeze_limit(&self.world.timing);
        let stopped = stop.clone();
        tokio::spawn(async move {
            let freeze = || async { host.freeze() };
            let kill = || async { host.hands().sweep().await.map(drop) };
            watchdog(
                &file,
                &clock,
                limit,
                freeze,
                kill,
                &Liveness::new(),
                stopped,
            )
            .await;
        });
        stop
    }

    fn end(&mut self, name: &str) {
        if let Some(machine) = self.machines.remove(name) {
            machine.agent.crash();
            machine.watchdog.cancel();
            machine.host.kill_all();
            self.world.machines.end(name);
        }
    }

    fn start_manager(&mut self) {
        self.started += 1;
        let manager = self.world.manager(&format!("m{}", self.started));
        manager
            .line
            .set_latency(Duration::from_millis(self.dice.random_range(5..60)));
        self.managers.push(manager);
    }

    fn fault(&mut self, now: u64) {
        let lasts = now + self.dice.random_range(1..400);
        match self.dice.random_range(0..17) {
            0 => self.crash_manager(now),
            1 | 2 => {
                let writes = self.dice.random_range(0..4);
                let manager = self.some_manager();
                let gate = manager.line.hold_after(writes);
                let connection = Arc::clone(&manager.connection);
                self.note(now, "a manager crashes between two writes");
                let reached = gate.clone();
                tokio::spawn(async move {
                    reached.wait().await;
                    connection.kill();
                });
                self.start_manager();
            }
            3 => {
                let Some(name) = self.some_machine() else {
                    return;
                };
                let writes = self.dice.random_range(0..3);
                self.note(
                    now,
                    &format!("{name} hangs between two writes until {lasts}"),
                );
                let gate = self.machines[&name].agent.line.hold_after(writes);
                self.gates.push((lasts, gate));
            }
            4 => {
                let gate = self.some_manager().line.hold(Op::Any, "");
                self.note(now, "a manager's line is held");
                self.gates.push((lasts, gate));
            }
            5 => {
                let gate = self.some_manager().line.hold(Op::Put, "");
                self.note(now, "a manager's writes are held");
                self.gates.push((lasts, gate));
            }
            6 => {
                let gate = self.some_manager().line.lose_answers(Op::Put, "");
                self.note(now, "a manager's answers are lost");
                self.gates.push((lasts.min(now + 30), gate));
            }
            7 => self.restart_agent(now),
            8 => {
                if let Some(name) = self.some_machine() {
                    self.note(now, &format!("{name} ends"));
                    self.end(&name);
                }
            }
            9 => {
                if let Some(name) = self.some_machine() {
                    self.note(now, &format!("{name} is cut off until {lasts}"));
                    let gate = self.machines[&name].agent.line.cut(Op::Any, "");
                    self.gates.push((lasts, gate));
                }
            }
            10 => {
                if let Some(name) = self.some_machine() {
                    self.note(now, &format!("{name}'s calls hang until {lasts}"));
                    let gate = self.machines[&name].agent.line.hold(Op::Any, "");
                    self.gates.push((lasts, gate));
                }
            }
            11 | 12 => {
                if let Some(name) = self.some_machine() {
                    self.note(now, &format!("EC2 does not list {name} until {lasts}"));
                    if self.dice.random_ratio(1, 2) {
                        self.world.machines.unknow(&name);
                    } else {
                        self.world.machines.unlist(&name);
                    }
                    self.unlisted.push((lasts, name));
                }
            }
            13 => {
                self.note(now, &format!("S3 is out for everybody until {lasts}"));
                let machines = self.machines.values().map(|machine| &machine.agent);
                let all = self.managers.iter().chain(machines);
                let cut: Vec<_> = all.map(|actor| actor.line.cut(Op::Any, "")).collect();
                self.gates.extend(cut.into_iter().map(|gate| (lasts, gate)));
            }
            14 => {
                if let Some(name) = self.some_machine() {
                    self.note(now, &format!("nothing can be frozen on {name} any more"));
                    self.machines[&name].host.set_wild();
                }
            }
            15 => {
                self.note(now, &format!("S3 is out for all workers until {lasts}"));
                let machines = self.machines.values();
                let cut: Vec<_> = machines
                    .map(|machine| machine.agent.line.cut(Op::Any, ""))
                    .collect();
                self.gates.extend(cut.into_iter().map(|gate| (lasts, gate)));
            }
            _ => {
                let job = self.dice.random_range(KEPT + 1..=JOBS);
                self.note(now, &format!("job {job} is cancelled"));
                self.world.gitlab.cancel(job);
            }
        }
    }

    fn crash_manager(&mut self, now: u64) {
        let number = self.dice.random_range(0..self.managers.len());
        self.managers.remove(number).crash();
        self.note(now, "a manager crashes");
        self.start_manager();
    }

    fn restart_agent(&mut self, now: u64) {
        let Some(name) = self.some_machine() else {
            return;
        };
        self.note(now, &format!("{name}'s agent restarts"));
        let machine = self.machines.get_mut(&name).unwrap();
        machine.agent.crash();
        let file = machine.folder.path().join("lease");
        machine.agent = self.world.agent_noting(&machine.host, &file);
    }

    fn some_manager(&mut self) -> &Actor {
        let number = self.dice.random_range(0..self.managers.len());
        &self.managers[number]
    }

    fn some_machine(&mut self) -> Option<String> {
        if self.machines.is_empty() {
            return None;
        }
        let number = self.dice.random_range(0..self.machines.len());
        self.machines.keys().nth(number).cloned()
    }

    fn note(&mut self, now: u64, what: &str) {
        self.told.push(format!("{now} s: {what}"));
    }
}
