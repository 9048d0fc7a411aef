//! S3 is unreachable for one worker or for everybody. A worker can't distinguish the two, so in
//! both cases its jobs are frozen at its lease's end until it is known who owns them; see
//! `docs/design/0013-jobs-stand-still-when-the-lease-ends.md`.

use std::time::Duration;

use onspot_ledger::Ending;

use crate::world::{Actor, Gate, Op, World, seconds};

/// A script that outlasts any outage of these tests.
const LONG: Duration = Duration::from_mins(30);

fn cut_all<'a>(actors: impl IntoIterator<Item = &'a Actor>) -> Vec<Gate> {
    let actors = actors.into_iter();
    actors.map(|actor| actor.line.cut(Op::Any, "")).collect()
}

/// The accident: a worker continues because S3 might be down for everybody, but it was unreachable
/// for this worker only.
#[tokio::test(start_paused = true)]
async fn without_it_a_worker_that_goes_on_past_its_lease_runs_beside_its_successor() {
    let mut world = World::new();
    world.log.set_script(1, LONG);
    let ours = world.timing.clone();
    // It never notices that its lease has ended.
    world.timing.lease = Duration::from_hours(10);
    let (_h1, w1) = world.worker("w1");
    world.timing = ours;
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let _cut = cut_all([&w1]);
    let (_h2, _w2) = world.worker("w2");
    world.until_started(1, "w2").await;
    seconds(1).await;
    assert!(world.log.overlaps(1));
}

/// Why there is no better rule without a third party that both can ask: w1 observes the same in
/// both cases, so it has to act the same in both.
#[tokio::test(start_paused = true)]
async fn to_a_worker_an_outage_looks_like_its_own_partition() {
    let mut stood = Vec::new();
    for everybody in [true, false] {
        let world = World::new();
        world.log.set_script(1, LONG);
        let (_h1, w1) = world.worker("w1");
        let a = world.manager("a");
        world.push_and_start(1, "w1").await;
        let (_h2, w2) = world.worker("w2");
        seconds(10).await;
        let _cut = cut_all(if everybody {
            vec![&w1, &w2, &a]
        } else {
            vec![&w1]
        });
        seconds(600).await;
        let executions = world.log.executions(1);
        stood.push(executions[0].still.clone());
        assert_eq!(executions.len(), if everybody { 1 } else { 2 });
        assert!(!world.log.overlaps(1));
    }
    assert_eq!(stood[0], stood[1], "it does the same at the same time");
    assert_eq!((stood[0].len(), stood[0][0].1), (1, None));
}

#[tokio::test(start_paused = true)]
async fn an_outage_within_the_lease_costs_nothing() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(10));
    let (_h1, w1) = world.worker("w1");
    let (_h2, w2) = world.worker("w2");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    for _ in 0..3 {
        let cut = cut_all([&w1, &w2, &a]);
        // A renewal is at most ten seconds old when the outage begins.
        seconds(105).await;
        for gate in cut {
            gate.open();
        }
        seconds(20).await;
    }
    world.until_cleared(1).await;
    assert_eq!(world.log.executions(1).len(), 1);
}

/// Nobody could take over meanwhile, and nobody had to: the frozen job continues where it was.
#[tokio::test(start_paused = true)]
async fn an_outage_of_the_whole_store_beyond_lease_and_takeover_costs_no_attempt() {
    let world = World::new();
    world.log.set_script(1, LONG);
    world.log.set_script(2, Duration::from_mins(1));
    let (_h1, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let (_h2, w2) = world.worker("w2");
    world.push_and_start(2, "w2").await;
    let cut = cut_all([&w1, &w2, &a]);
    seconds(600).await;
    assert!(world.gitlab.is_held(1), "it may be anybody's");
    for gate in cut {
        gate.open();
    }
    for id in [1, 2] {
        world.until_cleared(id).await;
        let executions = world.log.executions(id);
        assert_eq!(executions.len(), 1, "{executions:?}");
        assert_eq!(world.gitlab.reports(id)[0].ending, Ending::Success);
    }
    let spans = world.log.executions(1)[0].spans();
    let worked = spans
        .iter()
        .map(|(from, to)| to.unwrap().saturating_sub(*from));
    assert_eq!((spans.len(), worked.sum()), (2, LONG));
    let (stood, on) = (spans[0].1.unwrap(), spans[1].0);
    assert!(
        (480..=500).contains(&on.saturating_sub(stood).as_secs()),
        "{spans:?}"
    );
    let trace = world.gitlab.trace(1);
    let said = "This job stood still for 8m";
    assert!(trace.contains(said), "{trace}");
    assert!(
        !trace.contains("S3"),
        "a laptop that slept has none: {trace}"
    );
    assert!(
        !world.gitlab.trace(2).contains("stood still"),
        "it had ended before"
    );
}

/// Nothing starts meanwhile, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_job_that_was_about_to_start_when_the_outage_began_starts_after_it() {
    let world = World::new();
    let (_h1, w1) = world.worker("w1");
    let a = world.manager("a");
    seconds(5).await;
    world.gitlab.push(1);
    let accepted = async || !world.state("w1").await.unwrap().value.jobs.is_empty();
    world.until("w1 accepts the job", accepted).await;
    seconds(1).await;
    let cut = cut_all([&w1, &a]);
    seconds(600).await;
    assert!(world.log.executions(1).is_empty());
    assert!(world.gitlab.is_held(1), "it may be anybody's");
    for gate in cut {
        gate.open();
    }
    world.until_cleared(1).await;
    let attempts: Vec<_> = world.log.executions(1).iter().map(|e| e.attempt).collect();
    assert_eq!(attempts, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_alone_is_cut_off_loses_its_job_and_never_thaws_it() {
    let world = World::new();
    world.log.set_script(1, LONG);
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let (_h2, _w2) = world.worker("w2");
    let cut = cut_all([&w1]);
    world.until_started(1, "w2").await;
    seconds(60).await;
    let first = world.log.executions(1).remove(0);
    assert_eq!(
        (first.to, first.spans().len()),
        (None, 1),
        "it stands still"
    );
    for gate in cut {
        gate.open();
    }
    world.until_cleared(1).await;
    let first = world.log.executions(1).remove(0);
    assert!(first.to.is_some() && first.spans().len() == 1, "{first:?}");
    assert!(!world.log.overlaps(1));
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_made_to_stand_still_is_killed() {
    let world = World::new();
    world.log.set_script(1, LONG);
    let (h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    h1.set_wild();
    let (_h2, _w2) = world.worker("w2");
    let cut = cut_all([&w1]);
    seconds(125).await;
    let first = world.log.executions(1).remove(0);
    assert!(first.to.is_some() && first.still.is_empty(), "{first:?}");
    world.until_started(1, "w2").await;
    drop(cut);
    world.until_cleared_but_for(1, "w1").await;
    assert!(!world.log.overlaps(1));
}

/// Nobody writes the trace meanwhile, so GitLab is asked.
#[tokio::test(start_paused = true)]
async fn a_job_that_is_cancelled_while_it_stands_still_is_killed() {
    let world = World::new();
    world.log.set_script(1, LONG);
    let (_h1, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let cut = cut_all([&w1, &a]);
    seconds(150).await;
    world.gitlab.cancel(1);
    seconds(30).await;
    let first = world.log.executions(1).remove(0);
    assert!(first.to.is_some() && first.spans().len() == 1, "{first:?}");
    for gate in cut {
        gate.open();
    }
    world.until_cleared(1).await;
    let reports = world.gitlab.reports(1);
    let (by, ending) = (reports[0].by.as_str(), reports[0].ending);
    assert_eq!((by, ending), ("w1", Ending::Canceled));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_job_goes_on_while_it_stands_still() {
    let world = World::new();
    world.log.set_script(1, LONG);
    world.gitlab.set_timeout(Duration::from_mins(5));
    let (_h1, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let cut = cut_all([&w1, &a]);
    seconds(320).await;
    let first = world.log.executions(1).remove(0);
    assert!(first.to.is_some() && first.spans().len() == 1, "{first:?}");
    for gate in cut {
        gate.open();
    }
    world.until_cleared(1).await;
    let reports = world.gitlab.reports(1);
    let why = reports[0].reason.as_deref();
    assert_eq!(why, Some("job_execution_timeout"), "{reports:?}");
    assert_eq!(world.log.executions(1).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_stopped_kills_what_stands_still_and_says_nothing_in_its_trace() {
    let world = World::new();
    world.log.set_script(1, LONG);
    let (_h1, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let cut = cut_all([&w1, &a]);
    seconds(150).await;
    w1.shutdown.cancel();
    seconds(5).await;
    let first = world.log.executions(1).remove(0);
    assert!(first.to.is_some() && first.spans().len() == 1, "{first:?}");
    let trace = world.gitlab.trace(1);
    assert!(!trace.contains("This attempt ends here"), "{trace}");
    let (_h2, _w2) = world.worker("w2");
    for gate in cut {
        gate.open();
    }
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1", "w2"]);
}
