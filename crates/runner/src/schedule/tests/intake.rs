//! How many jobs are asked for.

use super::*;

/// A runner with ten places, of which `taken` are taken, and with `asking` open requests.
fn busy(name: &str, taken: u64, asking: u32) -> RunnerView {
    let with = |id| JobView {
        place: Place::With(WorkerId::of("AROA", "a")),
        ..job(id)
    };
    let mut runner = runner(vec![], (0..taken).map(with).collect());
    runner.name = RunnerName::new(name);
    runner.asking = asking;
    runner.request_concurrency = 5;
    runner.policy.as_mut().unwrap().limit = 10;
    runner
}

fn permits(concurrent: u32, runners: Vec<RunnerView>) -> Vec<(String, u32)> {
    let view = View {
        concurrent,
        runners,
    };
    let permits = super::super::intake(&view).into_iter();
    permits
        .map(|(name, open)| (name.to_string(), open))
        .collect()
}

fn of(name: &str, open: u32) -> (String, u32) {
    (name.to_owned(), open)
}

#[test]
fn concurrent_is_about_all_runners_and_the_emptiest_chooses_first() {
    let runners = || vec![busy("a", 2, 0), busy("b", 0, 0)];
    assert_eq!(permits(3, runners()), [of("a", 0), of("b", 1)]);
    assert_eq!(permits(9, runners()), [of("a", 2), of("b", 5)]);
    assert_eq!(permits(1, runners()), [of("a", 0), of("b", 0)]);
}

#[test]
fn a_runners_own_limit_holds() {
    let mut runner = busy("a", 1, 1);
    runner.limit = 3;
    assert_eq!(permits(100, vec![runner.clone()]), [of("a", 1)]);
    runner.limit = 1;
    assert_eq!(permits(100, vec![runner]), [of("a", 0)]);
}

#[test]
fn with_fewer_places_than_runners_they_take_turns() {
    let idle = |name: &str, asked| RunnerView {
        asked,
        ..busy(name, 0, 0)
    };
    let view = View {
        concurrent: 1,
        runners: vec![idle("a", 3), idle("b", 2), idle("c", 3)],
    };
    let permits = super::super::intake(&view);
    let next: Vec<_> = permits
        .iter()
        .filter(|(_, permits)| **permits > 0)
        .collect();
    assert_eq!(next, [(&RunnerName::new("b"), &1)]);
}

#[test]
fn so_many_requests_are_on_their_way_at_a_time() {
    let mut runner = busy("a", 0, 1);
    runner.request_concurrency = 2;
    assert_eq!(permits(100, vec![runner.clone()]), [of("a", 1)]);
    runner.asking = 2;
    assert_eq!(permits(100, vec![runner]), [of("a", 0)]);
}

#[test]
fn a_request_is_a_reservation() {
    assert_eq!(permits(2, vec![busy("a", 0, 2)]), [of("a", 0)]);
    let mut runner = busy("a", 0, 2);
    runner.policy.as_mut().unwrap().limit = 3;
    assert_eq!(
        permits(100, vec![runner]),
        [of("a", 1)],
        "there are three places"
    );
}

#[test]
fn a_job_that_is_with_gitlab_takes_no_place() {
    let mut runner = busy("a", 2, 0);
    runner.jobs[0].place = Place::Ending;
    assert_eq!(permits(2, vec![runner]), [of("a", 1)]);
}

#[test]
fn a_host_asks_for_what_it_has_slots_for() {
    let mut runner = busy("a", 1, 0);
    runner.policy = None;
    assert_eq!(permits(100, vec![runner.clone()]), [of("a", 0)]);
    runner.fleet.workers = vec![worker("a", ready(2, 1))];
    assert_eq!(permits(100, vec![runner]), [of("a", 2)]);
}
