//! The lease runs from the sending of the last answered renewal. After its end no job runs: the
//! agent freezes them, and a process that outlives the agent kills what it has left.

use std::sync::Arc;
use std::time::Duration;

use onspot_executor::Executor as _;
use onspot_ledger::Ending;
use onspot_runner::{freeze_limit, watchdog};
use tokio_util::sync::CancellationToken;

use crate::world::{Host, Op, World, seconds};

/// The first accident: a lease that starts at the answer ends after the take-over.
#[tokio::test(start_paused = true)]
async fn without_it_a_slow_answer_stretches_the_lease() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(20));
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let slow = w1.line.hold_answers(Op::Put, "state");
    slow.reached().await;
    seconds(100).await;
    w1.crash();
    let from_the_answer = world.clock.steady() + world.timing.lease;
    let _watchdog = Watchdog::start(&world, &h1, from_the_answer);
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    assert!(world.log.overlaps(1));
}

#[tokio::test(start_paused = true)]
async fn with_it_the_containers_stand_still_before_the_takeover() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(20));
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    // The next renewal is applied and answered 100 s later; then the line is cut.
    let slow = w1.line.hold_answers(Op::Put, "state");
    slow.reached().await;
    seconds(100).await;
    w1.line.cut(Op::Any, "");
    slow.open();
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    assert!(!world.log.overlaps(1));
}

/// A renewal whose answer is lost counts from its first sending, not from the last retry.
#[tokio::test(start_paused = true)]
async fn with_it_a_repeated_renewal_does_not_stretch_the_lease() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(20));
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let (lost, deaf) = (
        w1.line.lose_answers(Op::Put, "state"),
        w1.line.cut(Op::Get, "state"),
    );
    lost.reached().await;
    seconds(100).await;
    // It finds its write at last; everything else to and from it is cut.
    w1.line.cut(Op::Put, "");
    w1.line.cut(Op::Get, "order");
    lost.open();
    deaf.open();
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    assert!(!world.log.overlaps(1));
}

/// The second accident: the agent dies, its containers do not.
#[tokio::test(start_paused = true)]
async fn without_a_watchdog_a_dead_agents_containers_run_on_beside_the_successor() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(20));
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    w1.crash();
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    assert!(world.log.overlaps(1));
}

#[tokio::test(start_paused = true)]
async fn with_a_watchdog_they_are_dead_by_then() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(20));
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    // The agent noted its lease before it died: at the latest now.
    let until = world.clock.steady() + world.timing.lease;
    w1.crash();
    let _watchdog = Watchdog::start(&world, &h1, until);
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    assert!(!world.log.overlaps(1));
}

/// A script that a watchdog killed because the agent hung looks like one that failed.
#[tokio::test(start_paused = true)]
async fn with_it_a_script_that_the_watchdog_has_killed_is_given_up() {
    let world = World::new();
    world.machines.add("w1");
    let host = Arc::new(Host::new("w1", Arc::clone(&world.log)));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lease");
    let agent = world.agent_noting(&host, &file);
    let _a = world.manager("a");
    seconds(5).await;
    world.gitlab.push(1);
    world.log.set_script(1, Duration::from_mins(20));
    world.until_started(1, "w1").await;
    let cut = agent.line.cut(Op::Put, "state");
    cut.reached().await;
    let until = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    let left = Duration::from_millis(until).saturating_sub(world.clock.steady());
    tokio::time::sleep(left).await;
    let now = world.clock.steady().as_millis().to_string();
    std::fs::write(folder.path().join("lease.killed"), now).unwrap();
    host.kill_all();
    seconds(5).await;
    cut.open();
    world.until_cleared(1).await;
    let attempts: Vec<_> = world.log.executions(1).iter().map(|e| e.attempt).collect();
    assert_eq!(attempts, [1, 2]);
    assert_eq!(world.gitlab.reports(1)[0].ending, Ending::Success);
}

/// A watchdog that uses a recorded lease; it ends when this is dropped.
struct Watchdog {
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Watchdog {
    fn start(world: &World, host: &Arc<Host>, until: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lease");
        std::fs::write(&file, until.as_millis().to_string()).unwrap();
        let limit = freeze_limit(&world.timing);
        let (clock, shutdown) = (world.clock.clone(), CancellationToken::new());
        let (host, stop) = (Arc::clone(host), shutdown.clone());
        tokio::spawn(async move {
            let freeze = || async { host.freeze() };
            let kill = || async { host.hands().sweep().await.map(drop) };
            let loops = onspot_runner::Liveness::new();
            watchdog(&file, &clock, limit, freeze, kill, &loops, stop).await;
        });
        Self {
            shutdown,
            _folder: folder,
        }
    }
}
