//! The texts in the traces of waiting jobs.

use onspot_fleet::{InstanceId, PoolError, Refusal};

use super::*;

/// The text for the first waiting job.
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
    runner.fleet.workers = vec![worker("i-1", Stage::Launching)];
    insta::assert_snapshot!(told(&runner), @"Waiting for a worker. An instance is being launched.");
    runner.fleet.workers = vec![Worker {
        pool: pool("eu-1a"),
        ..worker("i-1", Stage::Booting)
    }];
    insta::assert_snapshot!(
        told(&runner),
        @"Waiting for a worker. i-1 (m6i.large in eu-1a (spot)) boots."
    );
    runner.fleet.workers.push(worker("i-2", Stage::Launching));
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

/// A runner with one waiting job, whose one spot pool was refused.
fn refused(code: &str, message: &str) -> RunnerView {
    let mut runner = runner(vec![], vec![job(1)]);
    let error = PoolError {
        pool: pool("eu-1a"),
        code: code.to_owned(),
        message: message.to_owned(),
    };
    runner.fleet.candidates = vec![pool("eu-1a")];
    runner.fleet.pools.note(&error, now());
    runner
}

#[test]
fn the_pools_are_dry() {
    insta::assert_snapshot!(
        told(&refused("InsufficientInstanceCapacity", "")),
        @"Waiting for a worker. EC2 has nothing in m6i.large in eu-1a (spot): InsufficientInstanceCapacity. Every spot pool is dry for now."
    );
}

#[test]
fn a_quota_that_is_used_up_is_named() {
    insta::assert_snapshot!(told(&refused("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")), @r#"Waiting for a worker. Used up for m6i.large in eu-1a (spot): the quota of spot instances (in vCPUs, a family of types) (MaxSpotInstanceCountExceeded). To mend it: ask for more of "All Standard Spot Instance Requests" in Service Quotas, or lower `limit`. Next try at 00:17 UTC. No spot pool can be used for now."#);
}

#[test]
fn a_bid_that_is_too_low_is_shown_with_the_price() {
    let message = "Your Spot request price of 0.001 is lower than the minimum required Spot \
                   request fulfillment price of 0.0041.";
    insta::assert_snapshot!(told(&refused("SpotMaxPriceTooLow", message)), @"Waiting for a worker. The bid is too low for m6i.large in eu-1a (spot): at most $0.001 an hour may be paid, and it costs $0.0041 now (SpotMaxPriceTooLow). To mend it: raise `spot_price`, or leave it out. No spot pool can be used for now.");
}

#[test]
fn a_type_that_the_zone_lacks_is_named() {
    insta::assert_snapshot!(told(&refused("Unsupported", "not supported")), @"Waiting for a worker. EC2 does not offer m6i.large in eu-1a (spot) (Unsupported). To mend it: choose types that the zones have. No spot pool can be used for now.");
}

#[test]
fn a_wrong_configuration_is_said_with_what_to_do() {
    let mut runner = runner(vec![], vec![job(1)]);
    let (refusal, code) = (Refusal::Configuration, "UnauthorizedOperation");
    let message = "You are not authorized to perform this operation.";
    runner
        .fleet
        .pools
        .note_call(Lifecycle::Spot, refusal, code, message, now());
    insta::assert_snapshot!(told(&runner), @"Waiting for a worker. Nothing is launched: EC2 refuses it: You are not authorized to perform this operation (UnauthorizedOperation). To mend it: give the managers' role the permission: run `onspot up` again, and look for service control policies of the organisation. Next try at 00:26 UTC.");
    assert_eq!(
        obstacle(&runner, now()).map(|text| format!("Waiting for a worker. {text}")),
        Some(told(&runner)),
        "`status` says the same"
    );
}

#[test]
fn boots_that_failed_are_said_with_the_end_of_the_console() {
    let mut runner = runner(vec![], vec![job(1)]);
    for number in 1..=3 {
        let instance = InstanceId::new(format!("i-{number}"));
        runner.fleet.boots.note_lost(&instance, now(), now());
        let line = "onspot boot: FAILED with status 1 at line 9: get".to_owned();
        runner.fleet.boots.note_console(&instance, vec![line]);
    }
    insta::assert_snapshot!(told(&runner), @r"
    Waiting for a worker. Nothing is launched: 3 workers in a row were launched and never reported, so that their image or boot script must be broken. The next one is launched at 01:16 UTC, or when there is a new version of the launch template: mend it, and run `onspot up` again. The console of i-3 ended with:
      onspot boot: FAILED with status 1 at line 9: get
    ");
    assert!(obstacle(&runner, now()).is_some());
}

#[test]
fn a_launch_without_answer_is_said_so() {
    let mut runner = runner(vec![worker("i-1", Stage::Launching)], vec![job(1)]);
    runner.in_doubt = true;
    insta::assert_snapshot!(told(&runner), @"Waiting for a worker. EC2 has not answered the last launch yet: it is asked again, and launches nothing twice. An instance is being launched.");
}

#[test]
fn a_runner_that_may_launch_has_no_obstacle() {
    let runner = runner(vec![], vec![job(1)]);
    assert_eq!(obstacle(&runner, now()), None);
}

#[test]
fn the_host_is_full_or_nothing_is_known_yet() {
    let mut runner = runner(vec![worker("host", ready(0, 1))], vec![job(1)]);
    runner.policy = None;
    insta::assert_snapshot!(told(&runner), @"Waiting: all slots of this host are taken.");
    runner.observed = false;
    insta::assert_snapshot!(told(&runner), @"Waiting for a worker.");
}
