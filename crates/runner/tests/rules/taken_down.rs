//! When a stack is taken down, its jobs end in GitLab too: managers and workers are terminated, and
//! the jobs that they leave in the ledger are settled.

use std::sync::Arc;
use std::time::Duration;

use onspot_ledger::{
    Condition, Ending, JobPayload as RawPayload, Key, Ledger as _, ManagerId, Phase, Restart,
    create,
};
use onspot_runner::coordinator::Coordinator;
use onspot_runner::leader::{Settled, Settling};

use crate::world::{Actor, World, job, seconds};

const WHY: &str = "its stack was taken down by `onspot down`";

/// What `down` does once EC2 has said that all instances are terminated.
async fn settle(world: &World, limit: Duration, gitlab_is_down: bool) -> Settled {
    let connection = world.gitlab.connect("down", &world.clock);
    connection.set_down(gitlab_is_down);
    let settling = Settling {
        ledger: &*world.ledger,
        clock: world.clock.clone(),
        me: ManagerId::new("down"),
        version: "1".to_owned(),
        why: WHY.to_owned(),
        limit,
    };
    let told = move |_: &_, _: &_| Some(Arc::clone(&connection) as Arc<dyn Coordinator>);
    settling.settle(&told).await.unwrap()
}

/// EC2 terminates a manager and a worker.
fn terminate(world: &World, manager: &Actor, worker: &Actor) {
    manager.crash();
    worker.crash();
    world.machines.end("w1");
}

fn endings(world: &World, id: u64) -> Vec<(Ending, Option<String>)> {
    let reports = world.gitlab.reports(id).into_iter();
    reports
        .map(|report| (report.ending, report.reason))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn running_and_waiting_jobs_end_in_gitlab_with_a_reason() {
    let world = World::new();
    world.log.set_script(1, Duration::from_mins(30));
    let (_host, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    world.write_down(2, Restart::Allowed).await;
    terminate(&world, &a, &w1);

    let settled = settle(&world, Duration::from_mins(1), false).await;
    let failed = vec![(Ending::Failed, Some("runner_system_failure".to_owned()))];
    for id in [1, 2] {
        assert_eq!(endings(&world, id), failed, "job {id}");
        let trace = world.gitlab.trace(id);
        assert!(trace.contains(WHY), "job {id}: {trace}");
        let phase = world.record(id).await.unwrap().value.phase;
        assert!(matches!(phase, Phase::Done { .. }), "job {id}: {phase:?}");
    }
    assert_eq!(settled.told.len(), 2, "{settled:?}");
    assert!(settled.untold.is_empty(), "{settled:?}");

    let again = settle(&world, Duration::from_mins(1), false).await;
    assert_eq!(again, Settled::default(), "nothing is told twice");
    assert_eq!(endings(&world, 1), failed);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_a_worker_has_stored_is_told_as_it_is() {
    let world = World::new();
    let (_host, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    w1.connection.set_down(true);
    world.until_result(1, "w1").await;
    terminate(&world, &a, &w1);
    settle(&world, Duration::from_mins(1), false).await;
    assert_eq!(endings(&world, 1), [(Ending::Success, None)]);
    assert!(!world.gitlab.trace(1).contains(WHY));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_a_worker_has_told_is_not_told_again() {
    let world = World::new();
    let (_host, w1) = world.worker("w1");
    let a = world.manager("a");
    world.push_and_start(1, "w1").await;
    a.crash();
    world.until("told", async || world.gitlab.is_over(1)).await;
    seconds(5).await;
    terminate(&world, &a, &w1);
    assert_eq!(
        settle(&world, Duration::from_mins(1), false).await,
        Settled::default()
    );
    let reports = world.gitlab.reports(1);
    assert_eq!(reports.len(), 1, "{reports:?}");
}

#[tokio::test(start_paused = true)]
async fn a_gitlab_out_of_reach_holds_nothing_up_and_is_told_the_next_time() {
    let world = World::new();
    let limit = Duration::from_mins(1);
    for id in 1..=40 {
        world.write_down(id, Restart::Allowed).await;
    }
    let begun = world.clock.steady();
    let settled = settle(&world, limit, true).await;
    let took = world.clock.steady().saturating_sub(begun);
    assert!(took <= limit * 2, "{took:?}");
    assert_eq!(settled.untold.len(), 40);
    assert!(settled.told.is_empty());
    let phase = world.record(7).await.unwrap().value.phase;
    assert!(matches!(phase, Phase::Finishing { .. }), "{phase:?}");

    let again = settle(&world, limit, false).await;
    assert_eq!((again.told.len(), again.untold.len()), (40, 0));
}

#[tokio::test(start_paused = true)]
async fn a_job_without_a_record_or_with_one_that_cannot_be_read_is_ended_too() {
    let world = World::new();
    // Received, and its receiver died before it wrote the record.
    let raw = world.gitlab.take(1);
    let payload = RawPayload { raw };
    create(&*world.ledger, &Key::job_payload(&job(1)), payload)
        .await
        .unwrap()
        .unwrap();
    let raw = world.gitlab.take(2);
    let payload = RawPayload { raw };
    create(&*world.ledger, &Key::job_payload(&job(2)), payload)
        .await
        .unwrap()
        .unwrap();
    let record = Key::record(&job(2));
    let put = world
        .ledger
        .put_if(record.as_str(), b"{}".to_vec(), Condition::Absent);
    put.await.unwrap();
    // A record whose payload is gone: nobody has its token any more.
    world.write_down(3, Restart::Allowed).await;
    let gone = Key::job_payload(&job(3));
    world.ledger.delete(gone.as_str()).await.unwrap();

    let settled = settle(&world, Duration::from_mins(1), false).await;
    for id in [1, 2] {
        assert_eq!(endings(&world, id).len(), 1, "job {id}");
        assert_eq!(endings(&world, id)[0].0, Ending::Failed, "job {id}");
    }
    assert_eq!(settled.untold.len(), 1, "{settled:?}");
    let why = settled.untold[0].to_string();
    assert_eq!(
        why,
        "job 3 of r: its payload is gone, and the job's token with it"
    );
}
