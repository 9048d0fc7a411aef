//! Which worker gets which job, and what is launched and terminated.

use std::time::Duration;

use onspot_fleet::{Lifecycle, Policy, Pool, Stage};

use super::*;

mod explain;
mod intake;
mod property;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn now() -> Timestamp {
    at(1000)
}

type Worker = onspot_fleet::Worker<WorkerId>;

fn runner(workers: Vec<Worker>, jobs: Vec<JobView>) -> RunnerView {
    let policy = Policy {
        limit: 3,
        idle_time: Duration::from_mins(1),
        boot_limit: Duration::from_mins(5),
        ..Policy::default()
    };
    let mut runner = RunnerView {
        policy: Some(policy),
        jobs,
        ..RunnerView::new(RunnerName::new("r"))
    };
    runner.fleet.workers = workers;
    runner
}

/// A job that waits; a higher number means a shorter wait.
fn job(id: u64) -> JobView {
    JobView {
        id,
        received_at: at(990) + Duration::from_millis(id),
        deadline: at(3600),
        attempt: 1,
        place: Place::Waiting,
    }
}

/// A job that lost its worker once.
fn strict(id: u64) -> JobView {
    JobView {
        attempt: 2,
        ..job(id)
    }
}

fn worker(name: &str, stage: Stage) -> Worker {
    Worker {
        id: WorkerId::of("AROA", name),
        stage,
        pool: Pool::unknown(Lifecycle::Spot),
        launched_at: at(900),
        uses: 0,
        outdated: false,
    }
}

fn on_demand(worker: Worker) -> Worker {
    Worker {
        pool: Pool::unknown(Lifecycle::OnDemand),
        ..worker
    }
}

fn ready(free: u32, jobs: u32) -> Stage {
    let idle_since = (jobs == 0).then(|| at(990));
    Stage::Ready {
        free,
        jobs,
        idle_since,
    }
}

fn idle_since(second: i64) -> Stage {
    Stage::Ready {
        free: 1,
        jobs: 0,
        idle_since: Some(at(second)),
    }
}

fn plan(runner: &RunnerView) -> Vec<Action> {
    let view = View {
        concurrent: 100,
        runners: vec![runner.clone()],
    };
    schedule(view, now())
}

/// Which job goes where.
fn assigned(runner: &RunnerView) -> Vec<(u64, String)> {
    let placed = plan(runner).into_iter().filter_map(|action| match action {
        Action::Assign { job, worker } => Some((job.id, worker.instance().to_owned())),
        _ => None,
    });
    placed.collect()
}

/// What is launched, drained and terminated.
fn scaled(runner: &RunnerView) -> Vec<String> {
    let told = plan(runner).into_iter().filter_map(|action| match action {
        Action::Scale { scale, .. } => Some(scale),
        Action::Assign { .. } | Action::Fail { .. } | Action::Explain { .. } => None,
    });
    told.map(|scale| match scale {
        Scale::Launch { count, lifecycle } => format!("launch {count} {lifecycle}"),
        Scale::Drain { worker } => format!("drain {}", worker.instance()),
        Scale::Terminate { worker, reason } => {
            format!("terminate {}: {reason}", worker.instance())
        }
    })
    .collect()
}

fn to(job: u64, worker: &str) -> (u64, String) {
    (job, worker.to_owned())
}

#[test]
fn the_oldest_job_is_served_first() {
    let runner = runner(vec![worker("a", ready(1, 0))], vec![job(2), job(1)]);
    assert_eq!(assigned(&runner), [to(1, "a")]);
}

#[test]
fn the_fullest_worker_is_preferred() {
    let workers = vec![
        worker("a", ready(2, 0)),
        worker("b", ready(1, 1)),
        worker("c", ready(2, 0)),
    ];
    let runner = runner(workers, vec![job(1), job(2)]);
    assert_eq!(assigned(&runner), [to(1, "b"), to(2, "a")]);
}

#[test]
fn no_worker_gets_more_than_it_takes() {
    let jobs: Vec<_> = (1..=5).map(job).collect();
    let mut runner = runner(vec![worker("a", ready(3, 0))], jobs);
    assert_eq!(assigned(&runner).len(), 3);
    runner.fleet.workers[0].uses = 8;
    runner.policy.as_mut().unwrap().max_uses = 10;
    assert_eq!(assigned(&runner).len(), 2, "after ten it is given back");
}

#[test]
fn a_job_that_was_lost_once_never_goes_to_spot() {
    let spot = worker("a", ready(1, 0));
    let runner_of = |workers| runner(workers, vec![strict(1)]);
    assert_eq!(assigned(&runner_of(vec![spot.clone()])), []);
    let safe = on_demand(worker("b", ready(2, 0)));
    assert_eq!(assigned(&runner_of(vec![spot, safe])), [to(1, "b")]);
}

#[test]
fn nothing_is_given_away_or_launched_before_the_machines_were_looked_at() {
    let mut runner = runner(vec![worker("a", ready(1, 0))], vec![job(1), job(2)]);
    runner.observed = false;
    assert_eq!(assigned(&runner), []);
    assert_eq!(scaled(&runner), [""; 0]);
    runner.observed = true;
    assert_eq!(assigned(&runner), [to(1, "a")]);
    assert_eq!(scaled(&runner), ["launch 1 spot"]);
}

#[test]
fn an_overdue_job_fails_and_is_nothing_else() {
    let overdue = JobView {
        deadline: now(),
        ..job(1)
    };
    let runner = runner(vec![worker("a", ready(1, 0))], vec![overdue]);
    let plan = plan(&runner);
    assert!(
        matches!(&plan[..], [Action::Fail { job, .. }] if job.id == 1),
        "{plan:?}"
    );
}

#[test]
fn an_idle_worker_is_kept_for_a_while_then_drained_and_given_back_when_it_has_finished() {
    let with = |stage| scaled(&runner(vec![worker("a", stage)], vec![]));
    assert_eq!(with(idle_since(941)), [""; 0]);
    assert_eq!(with(idle_since(940)), ["drain a"]);
    let leaving = |done| Stage::Leaving {
        jobs: 0,
        losing: false,
        done,
    };
    assert_eq!(with(leaving(false)), [""; 0], "it has not said so itself");
    assert_eq!(
        with(leaving(true)),
        ["terminate a: it has finished and is not needed"]
    );
}

#[test]
fn a_worker_is_not_drained_in_the_round_that_gives_it_a_job() {
    let runner = runner(vec![worker("a", idle_since(0))], vec![job(1)]);
    assert_eq!(assigned(&runner), [to(1, "a")]);
    assert_eq!(scaled(&runner), [""; 0]);
}

#[test]
fn a_worker_that_is_taken_away_is_replaced_once() {
    let leaving = Stage::Leaving {
        jobs: 1,
        losing: true,
        done: false,
    };
    let with = JobView {
        place: Place::With(WorkerId::of("AROA", "a")),
        ..job(1)
    };
    let mut runner = runner(vec![worker("a", leaving)], vec![with]);
    assert_eq!(scaled(&runner), ["launch 1 on-demand"]);
    for stage in [Stage::Launching, Stage::Booting, ready(1, 0)] {
        runner.fleet.workers.truncate(1);
        runner.fleet.workers.push(on_demand(worker("b", stage)));
        assert_eq!(scaled(&runner), [""; 0]);
    }
}

#[test]
fn an_instance_that_is_shutting_down_takes_nobodys_place() {
    let busy = ["a", "b"].map(|name| worker(name, ready(0, 1)));
    let mut runner = runner(busy.into(), vec![job(1)]);
    runner
        .fleet
        .workers
        .push(worker("c", Stage::Ending { jobs: 0 }));
    assert_eq!(scaled(&runner), ["launch 1 spot"]);
    // The intake agrees: there is room for one job only.
    runner.jobs.clear();
    let view = View {
        concurrent: 100,
        runners: vec![runner],
    };
    assert_eq!(intake(&view).into_values().sum::<u32>(), 1);
}

#[test]
fn the_jobs_of_an_instance_that_is_shutting_down_want_another_place() {
    let with = JobView {
        place: Place::With(WorkerId::of("AROA", "a")),
        ..job(1)
    };
    let ending = worker("a", Stage::Ending { jobs: 1 });
    assert_eq!(
        scaled(&runner(vec![ending], vec![with])),
        ["launch 1 on-demand"]
    );
}

#[test]
fn a_worker_that_never_reports_is_given_back() {
    let mut lost = worker("a", Stage::Booting);
    lost.launched_at = at(700);
    assert_eq!(scaled(&runner(vec![lost.clone()], vec![])), [""; 0]);
    lost.launched_at = at(699);
    assert_eq!(
        scaled(&runner(vec![lost], vec![])),
        ["terminate a: it was launched and never reported"]
    );
}

#[test]
fn without_a_policy_nothing_is_bought_or_given_back() {
    let leaving = Stage::Leaving {
        jobs: 0,
        losing: false,
        done: true,
    };
    let workers = vec![worker("a", idle_since(0)), worker("b", leaving)];
    let mut runner = runner(workers, vec![job(1), job(2)]);
    runner.policy = None;
    assert_eq!(assigned(&runner), [to(1, "a")]);
    assert_eq!(scaled(&runner), [""; 0]);
}

fn pool(zone: &str) -> Pool {
    Pool {
        instance_type: "m6i.large".to_owned(),
        zone: zone.to_owned(),
        lifecycle: Lifecycle::Spot,
    }
}
