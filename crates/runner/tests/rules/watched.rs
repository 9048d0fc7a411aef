//! A worker and its watchdog: an agent that only waits for a slow S3 or engine does not count as
//! dead, and a slot that was frozen is ready for its next job.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onspot_executor::Executor as _;
use onspot_ledger::{Ending, Key};
use onspot_runner::{Liveness, freeze_limit, watchdog};
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

use crate::world::{Actor, Host, Op, World, seconds, worker_id};

/// A script that outlasts the test's events.
const LONG: Duration = Duration::from_mins(20);

/// A machine, an agent on it that records its lease, and a watchdog that uses that record.
fn watched(world: &World, name: &str, file: &Path) -> (Arc<Host>, Actor, DropGuard) {
    world.machines.add(name);
    let host = Arc::new(Host::new(name, Arc::clone(&world.log)));
    let agent = world.agent_noting(&host, file);
    let (clock, stop) = (world.clock.clone(), CancellationToken::new());
    let (limit, stopped) = (freeze_limit(&world.timing), stop.clone());
    let (there, file) = (Arc::clone(&host), file.to_owned());
    tokio::spawn(async move {
        let freeze = || async { there.freeze() };
        let kill = || async { there.hands().sweep().await.map(drop) };
        let loops = Liveness::new();
        watchdog(&file, &clock, limit, freeze, kill, &loops, stopped).await;
    });
    (host, agent, stop.drop_guard())
}

/// Every call takes ten seconds, as if all packets were dropped.
#[tokio::test(start_paused = true)]
async fn a_store_that_swallows_every_call_is_no_reason_to_kill() {
    let mut world = World::new();
    world.ends_itself = true;
    world.log.set_script(1, Duration::from_mins(5));
    let folder = tempfile::tempdir().unwrap();
    let (_h1, w1, _watchdog) = watched(&world, "w1", &folder.path().join("lease"));
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let cut = [&w1, &a].map(|actor| actor.line.cut(Op::Any, ""));
    w1.line.set_latency(Duration::from_secs(10));
    seconds(40 * 60).await;
    assert!(!folder.path().join("lease.killed").exists());
    w1.line.set_latency(Duration::ZERO);
    for gate in cut {
        gate.open();
    }
    world.until_cleared(1).await;
    assert_eq!(world.log.executions(1).len(), 1);
    assert_eq!(world.gitlab.reports(1)[0].ending, Ending::Success);
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_engine_and_store_are_slow_does_not_count_as_stuck() {
    let mut world = World::new();
    world.ends_itself = true;
    world.log.set_script(1, LONG);
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    h1.set_slow(Duration::from_secs(14));
    let cut = w1.line.cut(Op::Any, "");
    seconds(150).await;
    w1.line.set_latency(Duration::from_millis(9900));
    w1.line.hold(Op::Get, Key::leader().as_str());
    cut.open();
    for _ in 0..120 {
        seconds(1).await;
        let stuck = world.liveness.stuck(Duration::from_secs(25));
        assert!(!stuck.contains(&"the agent's loop"), "{stuck:?}");
    }
    let spans = world.log.executions(1)[0].spans();
    assert_eq!(spans.len(), 2, "it goes on: {spans:?}");
}

/// The job's payload could not be read before the lease ended, so nothing of it ever ran.
#[tokio::test(start_paused = true)]
async fn the_slot_of_a_job_that_stood_still_before_it_ran_takes_the_next_one() {
    let world = World::new();
    world.log.set_script(1, LONG);
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    seconds(5).await;
    let payload = Key::work(&worker_id("w1"), 1, 1);
    let unread = w1.line.cut(Op::Get, payload.as_str());
    world.gitlab.push(1);
    let accepted = async || !world.state("w1").await.unwrap().value.jobs.is_empty();
    world.until("w1 accepts the job", accepted).await;
    let cut = w1.line.cut(Op::Any, "");
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    cut.open();
    unread.open();
    seconds(30).await;
    world.gitlab.push(2);
    world.until_started(2, "w1").await;
    world.until_cleared(2).await;
    assert_eq!(world.gitlab.reports(2)[0].ending, Ending::Success);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_into_a_slot_that_the_watchdog_may_have_frozen() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lease");
    let (_h1, w1, watchdog) = watched(&world, "w1", &file);
    let _a = world.manager("a");
    seconds(5).await;
    let cut = w1.line.cut(Op::Any, "");
    seconds(150).await;
    drop(watchdog);
    let turn = std::fs::File::create(file.with_extension("lock")).unwrap();
    turn.lock().unwrap();
    cut.open();
    world.gitlab.push(1);
    seconds(60).await;
    assert!(world.order("w1").await.unwrap().value.runs(1, 1));
    assert!(world.state("w1").await.unwrap().value.jobs.is_empty());
    drop(turn);
    world.until_started(1, "w1").await;
}
