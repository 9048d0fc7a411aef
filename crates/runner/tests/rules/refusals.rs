//! Writes that the store refuses or does not process: the stored object is read, never assumed.

use onspot_ledger::{JobPayload, Key, Ledger as _, create, read};

use crate::world::{World, job, seconds};

#[tokio::test(start_paused = true)]
async fn a_received_job_whose_writes_meet_others_is_written_down_all_the_same() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let a = world.manager("a");
    seconds(5).await;
    // So often that even the retries give up once or twice.
    a.line.meet_others("job/", 12);
    world.gitlab.push(1);
    world.until_cleared(1).await;
    assert_eq!(world.log.executions(1).len(), 1);
    let past = read(&*world.ledger, &Key::past(&job(1))).await.unwrap();
    assert!(past.is_some(), "it was known to the end");
}

#[tokio::test(start_paused = true)]
async fn writers_that_meet_others_all_the_time_come_through_in_the_end() {
    let world = World::new();
    let (_host, agent) = world.worker("w1");
    let a = world.manager("a");
    for line in [&a.line, &agent.line] {
        for prefix in ["leader", "order/", "state/", "payload/", "done/", "job/"] {
            line.meet_others(prefix, 17);
        }
    }
    for id in 1..=3 {
        world.gitlab.push(id);
        world.until_cleared(id).await;
        assert_eq!(world.log.executions(id).len(), 1);
        assert_eq!(world.gitlab.reports(id).len(), 1);
    }
}

/// A manager that dies between the payload and the record leaves a job that has only a payload. The
/// leader ends it, so that it does not run into GitLab's time limit.
#[tokio::test(start_paused = true)]
async fn a_job_whose_receiver_died_before_its_record_is_ended_by_the_next_leader() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    let raw = world.gitlab.take(1);
    let payload = Key::job_payload(&job(1));
    create(&*world.ledger, &payload, JobPayload { raw })
        .await
        .unwrap();
    let _b = world.manager("b");
    world.until_cleared(1).await;
    let reports = world.gitlab.reports(1);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].reason.as_deref(), Some("runner_system_failure"));
    assert!(world.log.executions(1).is_empty());
    assert!(world.ledger.list("job/").await.unwrap().is_empty());
}
