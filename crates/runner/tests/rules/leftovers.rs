//! The leader removes what is over, because the bucket must not expire anything that may be in use.

use std::time::Duration;

use onspot_ledger::{BootId, JobPayload, Key, Ledger as _, Order, State, WorkPayload, create};
use serde_json::json;

use crate::world::{World, job, runner, seconds, worker_id};

async fn leave_work(world: &World, instance: &str, id: u64) {
    let work = WorkPayload {
        attempt: 1,
        deadline: world.clock.now(),
        trace: None,
        losses: Vec::new(),
        short_token: String::new(),
        raw: json!({"id": id, "token": "t"}),
    };
    let key = Key::work(&worker_id(instance), id, 1);
    create(&*world.ledger, &key, work).await.unwrap();
}

async fn keys(world: &World) -> Vec<String> {
    let listed = world.ledger.list("").await.unwrap().into_iter();
    listed.map(|object| object.key).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_of_no_use_any_more_stays() {
    let world = World::new();
    let (_host, _agent) = world.worker("w1");
    // Objects of workers that are gone, in every combination.
    let state = || State::first(&BootId::new("b"), "1", 1, world.clock.now());
    let order = || Order::empty(&runner()).asked(77, 1);
    let (w7, w8, w9) = (worker_id("w7"), worker_id("w8"), worker_id("w9"));
    let ledger = &*world.ledger;
    create(ledger, &Key::state(&w7), state()).await.unwrap();
    create(ledger, &Key::order(&w8), order()).await.unwrap();
    create(ledger, &Key::state(&w9), state()).await.unwrap();
    create(ledger, &Key::order(&w9), order()).await.unwrap();
    // Payloads for workers that are gone and for one that is alive, written by a leader that died
    // after that.
    for instance in ["w1", "w6", "w9"] {
        leave_work(&world, instance, 66).await;
    }
    // A payload of a finished job that a late write has brought back.
    let _a = world.manager("a");
    world.gitlab.push(1);
    world.until_cleared(1).await;
    let raw = world.gitlab.take(1);
    create(ledger, &Key::job_payload(&job(1)), JobPayload { raw })
        .await
        .unwrap();
    seconds(3600).await;
    let left = keys(&world).await;
    assert_eq!(
        left,
        ["done/r/1", "leader", "order/AROA:w1", "state/AROA:w1"]
    );
    assert_eq!(world.gitlab.reports(1).len(), 1, "it is not ended twice");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_job_that_takes_longer_than_a_day_is_removed() {
    let mut world = World::new();
    // The same with fewer rounds.
    world.timing.round = Duration::from_mins(1);
    world.timing.order_poll = Duration::from_mins(1);
    world.timing.watch = Duration::from_mins(1);
    world.timing.leader = Duration::from_mins(10);
    let hours = Duration::from_hours;
    world.log.set_script(1, hours(30));
    world.gitlab.set_timeout(hours(40));
    let (_host, _agent) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let begun = keys(&world).await;
    tokio::time::sleep(hours(29)).await;
    assert_eq!(keys(&world).await, begun);
    tokio::time::sleep(hours(2)).await;
    assert!(world.gitlab.is_over(1));
    assert_eq!(world.log.executions(1).len(), 1);
}
