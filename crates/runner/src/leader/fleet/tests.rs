use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use onspot_fleet::{InstanceState, LaunchRequest, Launched};
use onspot_ledger::{ETag, Order, Stored};

use super::super::picture::Picture;
use super::*;
use crate::capacity::{CapacityError, LookedUp};

pub(crate) fn instance(name: &str, state: InstanceState) -> Instance {
    Instance {
        id: InstanceId::new(name),
        pool: Pool::unknown(Lifecycle::Spot),
        state,
        launched_at: Timestamp::UNIX_EPOCH,
        reason: None,
        private_ip: None,
        tags: onspot_reconcile::Tags::new(),
        outdated: false,
    }
}

fn known() -> Known {
    Known {
        role_id: "AROA".to_owned(),
        ..Known::default()
    }
}

const TAKEOVER: Duration = Duration::from_mins(3);

/// Whether a worker that the ledger names counts as gone after this much silence.
fn is_gone(known: &Known, worker: &WorkerId, silent: Duration) -> bool {
    let (mut picture, runner) = (Picture::default(), RunnerName::new("r"));
    let order = Stored {
        value: Order::empty(&runner),
        etag: ETag::new("1"),
    };
    picture.put_order(worker, order);
    picture.take_in_fleets(BTreeMap::from([(runner, known.status())]));
    for (_, worker) in picture.workers_mut() {
        worker.silent_for = silent;
    }
    picture.worker(worker).unwrap().is_gone(TAKEOVER)
}

/// One look: EC2's list, and its look-ups of workers that are missing in the list.
fn look(known: &mut Known, at: u64, listed: &[Instance], by_id: &[(&str, Option<Instance>)]) {
    let found = by_id
        .iter()
        .map(|(name, instance)| (WorkerId::of("AROA", name), instance.clone()));
    let listed = known.by_worker(listed.to_vec());
    known.observed(listed, found.collect(), Duration::from_secs(at));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_does_not_go_is_asked_again_after_a_while() {
    let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
    let asked = Arc::new(Asked::default());
    let wake = Arc::new(Notify::new());
    let fleet = Fleet::new(RunnerName::new("r"), "AROA", asked.clone(), clock, wake);
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
    fn observe(&self) -> BoxFuture<'_, Result<Vec<Instance>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn look_up(&self, _: Vec<InstanceId>) -> BoxFuture<'_, Result<Vec<LookedUp>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn pools(&self) -> BoxFuture<'_, Result<Vec<Pool>, CapacityError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn launch(&self, _: LaunchRequest) -> BoxFuture<'_, Result<Launched, CapacityError>> {
        async { Ok(Launched::default()) }.boxed()
    }

    fn terminate(&self, _: Vec<InstanceId>) -> BoxFuture<'_, Result<(), CapacityError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }.boxed()
    }
}

#[test]
fn absence_from_a_list_is_no_end() {
    let mut known = known();
    let (a, running) = (
        WorkerId::of("AROA", "a"),
        instance("a", InstanceState::Running),
    );
    look(&mut known, 0, std::slice::from_ref(&running), &[]);
    for second in 1..1000 {
        assert_eq!(
            known.missing(&BTreeMap::new()),
            std::slice::from_ref(&a),
            "it is asked about by its id"
        );
        // Now and then EC2 has no answer at all.
        let answer = [("a", Some(running.clone()))];
        let answer = if second % 3 == 0 { &answer[..] } else { &[] };
        look(&mut known, second, &[], answer);
        assert!(!is_gone(&known, &a, TAKEOVER));
        assert_eq!(known.instances.get(&a), Some(&running));
    }
    let ended = instance("a", InstanceState::Terminated);
    look(&mut known, 1000, &[], &[("a", Some(ended))]);
    assert!(is_gone(&known, &a, Duration::ZERO));
}

#[test]
fn an_unknown_id_is_gone_only_when_it_is_silent_too() {
    let mut known = known();
    let stranger = WorkerId::of("AROA", "x");
    known.named.insert(stranger.clone());
    assert_eq!(
        known.missing(&BTreeMap::new()),
        std::slice::from_ref(&stranger),
        "never seen, but named"
    );
    look(&mut known, 5, &[], &[("x", None)]);
    let almost = Duration::from_secs(179);
    assert!(!is_gone(&known, &stranger, almost));
    assert!(is_gone(&known, &stranger, TAKEOVER));
    // EC2 knows it after all.
    let running = instance("x", InstanceState::Running);
    look(&mut known, 10, &[], &[("x", Some(running))]);
    assert!(!is_gone(&known, &stranger, TAKEOVER));
}

#[test]
fn what_shuts_down_may_still_run_and_is_not_gone() {
    let mut known = known();
    let leaving = instance("a", InstanceState::ShuttingDown);
    look(&mut known, 0, &[leaving], &[]);
    let a = WorkerId::of("AROA", "a");
    assert!(!is_gone(&known, &a, TAKEOVER));
}

#[test]
fn a_purchase_that_ec2_never_learns_of_is_forgotten_in_the_end() {
    let mut known = known();
    let bought = instance("n", InstanceState::Pending);
    known.instances.insert(WorkerId::of("AROA", "n"), bought);
    for second in 0..300 {
        look(&mut known, second, &[], &[("n", None)]);
        assert!(!known.instances.is_empty(), "{second} s: it may still boot");
    }
    look(&mut known, 300, &[], &[("n", None)]);
    assert!(known.instances.is_empty() && known.unknown.is_empty());
}

#[test]
fn an_instance_of_another_runner_is_neither_ours_nor_gone() {
    let mut known = known();
    let theirs = WorkerId::of("OTHER", "a");
    known.named.insert(theirs.clone());
    look(&mut known, 0, &[], &[]);
    let found = instance("a", InstanceState::Running);
    let found = vec![(theirs.clone(), Some(found))];
    known.observed(BTreeMap::new(), found, Duration::ZERO);
    assert!(known.instances.is_empty());
    assert!(!is_gone(&known, &theirs, TAKEOVER));
}
