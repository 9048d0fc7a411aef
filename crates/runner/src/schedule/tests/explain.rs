//! What a waiting job is told.

use onspot_fleet::PoolError;

use super::*;

/// What the first waiting job is told.
fn told(runner: &RunnerView) -> String {
    let mut texts = plan(runner).into_iter().filter_map(|action| match action {
        Action::Explain { text, .. } => Some(text),
        _ => None,
    });
    texts.next().unwrap()
}

#[test]
fn the_same_view_gives_the_same_text() {
    let runner = runner(vec![worker("a", Stage::Booting)], vec![job(1)]);
    assert_eq!(told(&runner), told(&runner));
}

#[test]
fn a_machine_is_coming() {
    let mut runner = runner(vec![], vec![job(1)]);
    insta::assert_snapshot!(told(&runner), @"Waiting for a worker. Launching 1 spot instance.");
    runner.workers = vec![worker("i-1", Stage::Launching)];
    insta::assert_snapshot!(told(&runner), @"Waiting for a worker. An instance is being launched.");
    runner.workers = vec![WorkerView {
        pool: Some(pool("eu-1a")),
        ..worker("i-1", Stage::Booting)
    }];
    insta::assert_snapshot!(
        told(&runner),
        @"Waiting for a worker. i-1 (m6i.large in eu-1a (spot)) boots."
    );
    runner.workers.push(worker("i-2", Stage::Launching));
    insta::assert_snapshot!(
        told(&runner),
        @"Waiting for a worker. i-1 (m6i.large in eu-1a (spot)) boots, 1 more as well."
    );
}

#[test]
fn a_spot_machine_does_not_come_for_a_job_that_was_lost_once() {
    let runner = runner(vec![worker("i-1", Stage::Booting)], vec![strict(1)]);
    insta::assert_snapshot!(
        told(&runner),
        @"Waiting for a worker. Launching 1 on-demand instance."
    );
}

#[test]
fn the_limit_is_reached() {
    let workers = ["a", "b", "c"].map(|name| worker(name, ready(0, 1)));
    let runner = runner(workers.into(), vec![job(1)]);
    insta::assert_snapshot!(
        told(&runner),
        @"Waiting for a worker. All 3 spot instances of this runner are taken (limit 3)."
    );
}

#[test]
fn the_pools_are_dry() {
    let mut runner = runner(vec![], vec![job(1)]);
    let error = PoolError {
        pool: pool("eu-1a"),
        code: "InsufficientInstanceCapacity".to_owned(),
        message: String::new(),
    };
    runner.candidates = vec![pool("eu-1a")];
    runner.pools.note(&error, now());
    insta::assert_snapshot!(
        told(&runner),
        @"Waiting for a worker. Every spot pool is dry for now."
    );
    runner.refused = vec![error];
    insta::assert_snapshot!(
        told(&runner),
        @"Waiting for a worker. EC2 has nothing in m6i.large in eu-1a (spot): InsufficientInstanceCapacity. Every spot pool is dry for now."
    );
    runner.trouble = Some("you are not authorized".to_owned());
    insta::assert_snapshot!(
        told(&runner),
        @"Waiting for a worker. EC2 refused the last launch: you are not authorized. Every spot pool is dry for now."
    );
}

#[test]
fn the_host_is_full_or_nothing_is_known_yet() {
    let mut runner = runner(vec![worker("host", ready(0, 1))], vec![job(1)]);
    runner.policy = None;
    insta::assert_snapshot!(told(&runner), @"Waiting: all slots of this host are taken.");
    runner.observed = false;
    insta::assert_snapshot!(
        told(&runner),
        @"Waiting for a worker. The workers were not looked at yet."
    );
}
