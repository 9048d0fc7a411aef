//! A frozen job continues only after (W1) a renewal of the state was stored, and (W2) an order that
//! was requested after that says *run*. The leader takes it over by (L1) writing *revoked* and (L2)
//! then reading the state. The tests cover every sequence of the four steps; see
//! `docs/design/0013-jobs-stand-still-when-the-lease-ends.md`.

use std::sync::Arc;
use std::time::Duration;

use onspot_ledger::{Ending, Key};

use crate::world::{Actor, Gate, Host, Op, World, seconds, worker_id};

/// A script that outlasts the test's events.
const LONG: Duration = Duration::from_mins(20);

/// A worker whose job is frozen, and a leader that is about to take it over. The test triggers each
/// of the four steps.
struct Standoff {
    world: World,
    h1: Arc<Host>,
    w1: Actor,
    a: Actor,
    renewing: Gate,
    asking: Gate,
    revoking: Gate,
    looking: Gate,
    /// The worker that gets the job next.
    w2: Option<(Arc<Host>, Actor)>,
}

impl Standoff {
    async fn new() -> Self {
        let world = World::new();
        world.log.set_script(1, LONG);
        let (h1, w1) = world.worker("w1");
        let a = world.manager("a");
        world.push_and_start(1, "w1").await;
        let cut = w1.line.cut(Op::Any, "");
        let renewing = w1.line.hold(Op::Put, "state");
        let asking = w1.line.hold(Op::Get, "order");
        let order = Key::order(&worker_id("w1"));
        let revoking = a.line.hold(Op::Put, order.as_str());
        revoking.reached().await;
        let looking = a.line.hold(Op::List, "state");
        cut.open();
        renewing.reached().await;
        let standoff = Self {
            world,
            h1,
            w1,
            a,
            renewing,
            asking,
            revoking,
            looking,
            w2: None,
        };
        assert!(standoff.stands_still(), "its lease has ended");
        assert!(standoff.world.gitlab.is_held(1));
        standoff
    }

    fn stands_still(&self) -> bool {
        let first = &self.world.log.executions(1)[0];
        first.to.is_none() && first.still.last().is_some_and(|(_, on)| on.is_none())
    }

    /// Whether the first attempt ran after its lease had ended.
    fn went_on(&self) -> bool {
        self.world.log.executions(1)[0].spans().len() > 1
    }

    /// A renewal is stored.
    async fn w1(&self) {
        let before = self.world.state("w1").await.unwrap().value.counter;
        self.renewing.open();
        let renewed = async || self.world.state("w1").await.unwrap().value.counter > before;
        self.world.until("w1 renews its lease", renewed).await;
        seconds(3).await;
    }

    /// The order is read after that.
    async fn w2(&self) {
        self.asking.open();
        seconds(5).await;
        assert!(!self.stands_still(), "it knows now whose the job is");
    }

    /// *Revoked* is written.
    async fn l1(&self) {
        self.revoking.open();
        let revoked = async || self.world.order("w1").await.unwrap().value.revokes(1, 1);
        self.world.until("the attempt is revoked", revoked).await;
        seconds(1).await;
    }

    /// The state is read after that.
    async fn l2(&self) {
        self.looking.open();
        seconds(5).await;
    }

    async fn attempt(&self) -> u32 {
        self.world.record(1).await.unwrap().value.attempt
    }

    /// Another worker starts and gets the job.
    async fn is_handed_on(&mut self) {
        self.w2 = Some(self.world.worker("w2"));
        self.world.until_started(1, "w2").await;
    }

    /// Another worker starts; the job succeeds and never ran twice at once.
    async fn ends_well(mut self) {
        self.w2.get_or_insert_with(|| self.world.worker("w2"));
        self.world.until_cleared(1).await;
        let executions = self.world.log.executions(1);
        assert!(!self.world.log.overlaps(1), "{executions:#?}");
        let attempts: Vec<_> = executions.iter().map(|one| one.attempt).collect();
        assert_eq!(attempts, [1, 2], "stopped, and handed on once");
        let reports = self.world.gitlab.reports(1);
        assert_eq!((reports.len(), reports[0].ending), (1, Ending::Success));
        assert!(!self.a.task.is_finished() && !self.w1.task.is_finished());
    }
}

/// The accident: a worker that continues after the renewal alone runs beside its successor.
#[tokio::test(start_paused = true)]
async fn without_it_a_renewal_alone_lets_the_job_run_beside_its_successor() {
    let mut standoff = Standoff::new().await;
    standoff.l1().await;
    standoff.l2().await;
    standoff.is_handed_on().await;
    standoff.w1().await;
    standoff.h1.thaw();
    seconds(1).await;
    assert!(standoff.world.log.overlaps(1));
}

#[tokio::test(start_paused = true)]
async fn l1_l2_w1_w2_a_job_that_was_handed_on_is_never_thawed() {
    let mut standoff = Standoff::new().await;
    standoff.l1().await;
    standoff.l2().await;
    assert_eq!(standoff.attempt().await, 2);
    standoff.is_handed_on().await;
    standoff.w1().await;
    assert!(standoff.stands_still(), "the renewal alone says nothing");
    standoff.w2().await;
    assert!(!standoff.went_on());
    standoff.ends_well().await;
}

#[tokio::test(start_paused = true)]
async fn l1_w1_l2_w2_a_leader_that_sees_the_renewal_waits_until_the_job_is_killed() {
    let standoff = Standoff::new().await;
    standoff.l1().await;
    standoff.w1().await;
    standoff.l2().await;
    assert_eq!(standoff.attempt().await, 1, "its worker lives");
    assert!(standoff.stands_still());
    standoff.w2().await;
    assert!(!standoff.went_on());
    standoff.ends_well().await;
}

#[tokio::test(start_paused = true)]
async fn l1_w1_w2_l2_a_worker_that_sees_the_revocation_kills_the_job() {
    let standoff = Standoff::new().await;
    standoff.l1().await;
    standoff.w1().await;
    standoff.w2().await;
    assert!(!standoff.went_on());
    standoff.l2().await;
    assert_eq!(standoff.attempt().await, 2, "it was given up");
    standoff.ends_well().await;
}

#[tokio::test(start_paused = true)]
async fn w1_l1_l2_w2_a_renewal_before_the_revocation_keeps_the_job_from_being_handed_on() {
    let standoff = Standoff::new().await;
    standoff.w1().await;
    standoff.l1().await;
    standoff.l2().await;
    assert_eq!(standoff.attempt().await, 1, "its worker lives");
    assert!(standoff.stands_still());
    standoff.w2().await;
    assert!(!standoff.went_on());
    standoff.ends_well().await;
}

#[tokio::test(start_paused = true)]
async fn w1_l1_w2_l2_a_revocation_after_the_renewal_is_seen_as_well() {
    let standoff = Standoff::new().await;
    standoff.w1().await;
    standoff.l1().await;
    standoff.w2().await;
    assert!(!standoff.went_on());
    standoff.l2().await;
    standoff.ends_well().await;
}

#[tokio::test(start_paused = true)]
async fn w1_w2_l1_l2_a_job_that_was_thawed_is_killed_before_it_is_handed_on() {
    let standoff = Standoff::new().await;
    standoff.w1().await;
    standoff.w2().await;
    assert!(standoff.went_on());
    standoff.l1().await;
    standoff.l2().await;
    standoff.ends_well().await;
}

/// An order that says *run* and was requested before the renewal, but is answered after it, when
/// the job already belongs to another worker.
#[tokio::test(start_paused = true)]
async fn an_order_that_was_asked_for_before_the_renewal_thaws_nothing() {
    let mut standoff = Standoff::new().await;
    // Releases the held calls, and delays the answer to the next request.
    let old = standoff.w1.line.hold_answers(Op::Get, "order");
    standoff.asking.open();
    old.reached().await;
    standoff.l1().await;
    standoff.l2().await;
    standoff.is_handed_on().await;
    standoff.w1().await;
    old.open();
    seconds(10).await;
    assert!(!standoff.went_on());
    standoff.ends_well().await;
}

/// S3 answers again, except for the order.
#[tokio::test(start_paused = true)]
async fn without_its_order_a_job_stands_still_however_often_the_lease_is_renewed() {
    let world = World::new();
    world.log.set_script(1, LONG);
    let (_h1, w1) = world.worker("w1");
    let _a = world.manager("a");
    world.push_and_start(1, "w1").await;
    let (deaf, cut) = (w1.line.cut(Op::Get, "order"), w1.line.cut(Op::Any, ""));
    seconds(150).await;
    cut.open();
    seconds(300).await;
    let spans = world.log.executions(1)[0].spans();
    assert_eq!(spans.len(), 1, "{spans:?}");
    deaf.open();
    world.until_cleared(1).await;
    assert_eq!(world.log.runs_on(1), ["w1"], "nobody took it meanwhile");
}
