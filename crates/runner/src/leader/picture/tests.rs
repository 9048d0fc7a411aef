//! What the picture says about workers, and how expensive it is.

use onspot_fleet::{Policy, Stage};
use onspot_ledger::{BootId, JobLabel, Restart};

use super::super::fleet::tests::instance;
use super::super::memory::Memory;
use super::*;
use crate::schedule::{Action, RunnerView, View, intake, schedule};
use onspot_settings::Timing;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn runner() -> RunnerName {
    RunnerName::new("r")
}

fn worker(number: usize) -> WorkerId {
    WorkerId::of("AROA", &format!("i-{number:05}"))
}

fn stored<T>(value: T) -> Stored<T> {
    Stored {
        value,
        etag: ETag::new("1"),
    }
}

/// The picture of this many idle workers and waiting jobs.
fn read(workers: usize, jobs: u64) -> (Picture, FleetStatus) {
    let mut picture = Picture::default();
    let mut fleet = FleetStatus::looked();
    for number in 0..workers {
        let id = worker(number);
        let running = instance(id.instance(), InstanceState::Running);
        fleet.instances.insert(id.clone(), running);
        let state = State::first(&BootId::new("b"), "1", 1, NOW);
        let known = picture.workers.entry(id).or_default();
        known.state = Reading::Read(stored(state));
        known.order = Reading::Read(stored(Order::empty(&runner())));
    }
    for id in 0..jobs {
        let record = Record::received(JobLabel::default(), Restart::Allowed, NOW, Timestamp::MAX);
        let job = JobKey::new(&runner(), id);
        picture.records.insert(job, stored(record));
    }
    (picture, fleet)
}

fn stack(workers: usize, jobs: u64) -> Picture {
    let (mut picture, fleet) = read(workers, jobs);
    picture.take_in_fleets(BTreeMap::from([(runner(), fleet)]));
    picture
}

fn view(picture: &Picture) -> View {
    let policy = Policy {
        limit: 100_000,
        ..Policy::default()
    };
    let runner = RunnerView {
        policy: Some(policy),
        ..picture.runner(&runner(), &Timing::default())
    };
    View {
        concurrent: 100_000,
        runners: vec![runner],
    }
}

/// No look at a worker or a job goes through all the others; otherwise this would take minutes.
#[test]
fn a_round_of_thousands_of_workers_and_jobs_places_them_all() {
    const MANY: usize = 4000;
    let mut picture = stack(MANY, 2 * MANY as u64);
    Memory::default().see(&mut picture, Duration::ZERO, Duration::MAX);
    let actions = schedule(view(&picture), NOW);
    let assigned = actions.iter().filter_map(|action| match action {
        Action::Assign { job, worker } => Some((job.clone(), worker.clone())),
        _ => None,
    });
    let assigned: Vec<_> = assigned.collect();
    assert_eq!(assigned.len(), MANY);
    for (job, worker) in &assigned {
        let record = picture.records()[job].value.assigned(worker, None, NOW);
        picture.put_record(job, stored(record.unwrap()));
    }
    let view = view(&picture);
    let busy = view.runners[0].fleet.workers.iter();
    assert!(busy.into_iter().all(onspot_fleet::Worker::is_busy));
    assert_eq!(intake(&view)[&runner()], 1);
}

#[test]
fn a_job_belongs_to_the_worker_that_its_record_names() {
    let mut picture = stack(2, 1);
    let job = JobKey::new(&runner(), 0);
    let record = picture.records()[&job].value.clone();
    let with = record.assigned(&worker(1), None, NOW).unwrap();
    picture.put_record(&job, stored(with.clone()));
    assert_eq!(picture.workers[&worker(1)].assigned(), 1);
    let again = with.next_attempt("lost", true, None, NOW).unwrap();
    picture.put_record(&job, stored(again.assigned(&worker(0), None, NOW).unwrap()));
    assert_eq!(picture.workers[&worker(1)].assigned(), 0);
    assert!(picture.workers[&worker(0)].jobs.contains(&job));
    picture.remove_record(&job);
    assert!(picture.workers[&worker(0)].jobs.is_empty());
}

#[test]
fn a_job_whose_record_cannot_be_read_keeps_its_worker_busy() {
    let (mut picture, fleet) = read(1, 0);
    let order = Order::empty(&runner()).asked(7, 1);
    picture.put_order(&worker(0), stored(order));
    picture.aside.jobs.insert(JobKey::new(&runner(), 7));
    picture.take_in_fleets(BTreeMap::from([(runner(), fleet)]));
    Memory::default().see(&mut picture, Duration::ZERO, Duration::MAX);
    assert_eq!(picture.workers[&worker(0)].idle_since, None);
    let seen = &view(&picture).runners[0].fleet.workers[0];
    let busy = Stage::Ready {
        free: 0,
        jobs: 1,
        idle_since: None,
    };
    assert_eq!((seen.stage, seen.uses), (busy, 1));
}

/// Its instance was launched long before, but it has not been idle for that long.
#[test]
fn a_worker_whose_last_job_ends_in_this_round_is_idle_from_now_on() {
    let mut picture = stack(1, 1);
    picture.now = NOW + Duration::from_hours(1);
    let job = JobKey::new(&runner(), 0);
    let record = picture.records()[&job].value.clone();
    let with = record.assigned(&worker(0), None, NOW).unwrap();
    picture.put_record(&job, stored(with));
    Memory::default().see(&mut picture, Duration::ZERO, Duration::MAX);
    assert_eq!(
        view(&picture).runners[0].fleet.workers[0].idle_since(),
        None
    );
    picture.remove_record(&job);
    let seen = &view(&picture).runners[0].fleet.workers[0];
    assert_eq!(seen.idle_since(), Some(picture.now));
}

/// One worker of two runners: somebody has edited its tags.
#[test]
fn a_worker_is_its_orders_runners_whoever_lists_its_instance() {
    let (mut picture, ours) = read(1, 0);
    let (other, mut theirs) = (RunnerName::new("other"), FleetStatus::looked());
    let running = instance("i-00000", InstanceState::Running);
    theirs.instances.insert(worker(0), running);
    let fleets = [(other.clone(), theirs), (runner(), ours)];
    picture.take_in_fleets(BTreeMap::from(fleets));
    assert_eq!(picture.workers[&worker(0)].runner, Some(runner()));
    assert!(
        picture
            .runner(&other, &Timing::default())
            .fleet
            .workers
            .is_empty()
    );
    assert!(picture.named(&other).is_empty());
}
