use std::time::Duration;

use super::*;
use crate::spec::Spec;

const SMALL: &str =
    "[[runners]]\nname = 'docker.m3'\nurl = 'https://gitlab.com'\ntoken = 'env:T'\n";

fn spec(lines: &str) -> Spec {
    Spec::parse(&format!("{SMALL}{lines}"), "onspot.toml").unwrap()
}

fn policy_of(lines: &str) -> Policy {
    let spec = spec(&format!("[runners.workers]\n{lines}"));
    policy(&spec, &spec.runners[0])
}

#[test]
fn a_file_that_says_nothing_means_the_usual_policy() {
    let spec = spec("");
    let usual = Policy {
        idle_count_min: 1,
        boot_limit: spec.timing.boot,
        ..Policy::default()
    };
    assert_eq!(policy(&spec, &spec.runners[0]), usual);
}

#[test]
fn every_key_of_scaling_reaches_the_policy() {
    let policy = policy_of(
        "spot = false\nidle_count = 6\nidle_count_min = 2\nscale_factor = 0.5\n\
         idle_time = '1h30m'\ngrowth = 3\non_demand_after = '10 minutes'\nslots = 4\n\
         max_builds = 20\n",
    );
    assert_eq!(policy.lifecycle, Lifecycle::OnDemand);
    assert_eq!((policy.idle_count, policy.idle_count_min), (6, 2));
    assert!((policy.idle_scale_factor - 0.5).abs() < f64::EPSILON);
    assert_eq!(policy.idle_time, Duration::from_mins(90));
    assert_eq!(policy.max_growth, 3);
    assert_eq!(policy.on_demand_after, Some(Duration::from_mins(10)));
    assert_eq!((policy.capacity_per_instance, policy.limit), (4, 3));
    assert_eq!(policy.max_uses, 20);
    assert_eq!(policy_of("on_demand_after = 'never'").on_demand_after, None);
}

#[test]
fn the_boot_limit_is_that_of_the_timing() {
    let spec = Spec::parse(&format!("[timing]\nboot = '7m'\n{SMALL}"), "onspot.toml").unwrap();
    let policy = policy(&spec, &spec.runners[0]);
    assert_eq!(policy.boot_limit, Duration::from_mins(7));
}

#[test]
fn periods_hold_at_their_times_in_their_zone() {
    let policy = policy_of(
        "idle_count = 0\n[[runners.workers.periods]]\nwhen = ['* 8-17 * * mon-fri']\n\
         timezone = 'Europe/Berlin'\nidle_count = 4\nidle_time = '30m'\nscale_factor = 0.25\n",
    );
    // 2026-07-03 is a Friday; Berlin is two hours ahead of UTC.
    let at = |time: &str| policy.at(time.parse().unwrap()).into_owned();
    let day = at("2026-07-03T06:30:00Z");
    assert_eq!((day.idle_count, day.idle_count_min), (4, 1));
    assert_eq!(day.idle_time, Duration::from_mins(30));
    assert!((day.idle_scale_factor - 0.25).abs() < f64::EPSILON);
    assert_eq!(at("2026-07-03T16:30:00Z").idle_count, 0);
    assert_eq!(at("2026-07-04T10:00:00Z").idle_count, 0);
}

#[test]
fn a_manager_asks_for_as_many_jobs_at_once_as_the_file_says() {
    let asked = |lines: &str| {
        Told::of(&spec(lines).runners[0])
            .manager
            .request_concurrency
    };
    assert_eq!((asked(""), asked("request_concurrency = 4\n")), (1, 4));
}

#[test]
fn a_worker_is_told_of_its_jobs_and_a_manager_is_not() {
    let told = Told::of(&spec("environment = ['A=b']\nlimit = 3\nmemory = '1.5g'\n").runners[0]);
    assert_eq!(told.worker.environment, ["A=b"]);
    assert!(told.manager.environment.is_empty());
    assert_eq!((told.manager.limit, told.worker.limit), (3, 0));
    assert_eq!(told.docker.job.memory.as_ref().unwrap().as_str(), "1.5g");
    assert_eq!(
        told.docker.pull_policies(),
        [onspot_settings::PullPolicy::Always]
    );
}
