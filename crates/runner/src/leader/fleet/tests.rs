use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::*;
use crate::capacity::{CapacityError, Purchased};

fn machine(name: &str, state: InstanceState) -> Machine {
    Machine {
        instance: InstanceId::new(name),
        worker: WorkerId::of("AROA", name),
        state,
        lifecycle: Some(Lifecycle::Spot),
        pool: None,
        launched_at: Timestamp::UNIX_EPOCH,
    }
}

fn sight(known: &Known) -> FleetSight {
    FleetSight {
        machines: known.machines.clone(),
        looks: known.looks,
        listed: known.listed.clone(),
        ..FleetSight::default()
    }
}

fn look(known: &mut Known, machines: Vec<Machine>) {
    let later = known.looked_at + Duration::from_secs(5);
    known.observed(machines, later, Duration::from_secs(2));
}

#[test]
fn extra_looks_do_not_count() {
    let (mut known, stranger) = (Known::default(), WorkerId::of("AROA", "x"));
    known.listed.insert(stranger.clone(), 0);
    for _ in 0..10 {
        known.observed(vec![], Duration::ZERO, Duration::from_secs(2));
    }
    assert!(!sight(&known).is_gone(&stranger));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_does_not_go_is_asked_again_after_a_while() {
    let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
    let asked = Arc::new(Asked::default());
    let wake = Arc::new(Notify::new());
    let fleet = Fleet::new(RunnerName::new("r"), asked.clone(), clock, wake);
    for _ in 0..50 {
        fleet.terminate(InstanceId::new("i-1"), "it is not needed");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(asked.0.load(Ordering::Relaxed), 2);
}

/// Counts how often it is asked to give machines back.
#[derive(Default)]
struct Asked(AtomicU32);

impl Capacity for Asked {
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Machine>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn launch(&self, _: Purchase) -> BoxFuture<'_, Result<Purchased, CapacityError>> {
        async { Ok(Purchased::default()) }.boxed()
    }

    fn terminate(&self, _: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }.boxed()
    }
}

#[test]
fn a_machine_is_gone_when_terminated_or_missed_three_times() {
    let mut known = Known::default();
    let (a, b) = (WorkerId::of("AROA", "a"), WorkerId::of("AROA", "b"));
    let both = vec![
        machine("a", InstanceState::Running),
        machine("b", InstanceState::Running),
    ];
    look(&mut known, both);
    assert!(!sight(&known).is_gone(&a));
    look(&mut known, vec![machine("a", InstanceState::Terminated)]);
    assert!(sight(&known).is_gone(&a));
    assert!(!sight(&known).is_gone(&b), "EC2's lists lag behind");
    look(&mut known, vec![]);
    assert!(!sight(&known).is_gone(&b));
    look(&mut known, vec![]);
    assert!(sight(&known).is_gone(&b));
}

#[test]
fn a_worker_that_a_new_leader_never_saw_is_gone_after_three_looks() {
    let mut known = Known::default();
    let stranger = WorkerId::of("AROA", "x");
    for _ in 0..3 {
        look(&mut known, vec![]);
    }
    assert!(
        !sight(&known).is_gone(&stranger),
        "it may have been bought since"
    );
    known.listed.insert(stranger.clone(), known.looks);
    for _ in 0..3 {
        look(&mut known, vec![]);
    }
    assert!(sight(&known).is_gone(&stranger));
}
