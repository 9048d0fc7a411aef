use super::*;
use http::StatusCode;

/// A session that began at byte 100, with the default times.
struct World {
    pace: Pace,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            pace: Pace::new(100, &TraceOptions::default(), now),
            now,
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn step(&self, end: u64) -> Step {
        self.pace.step(end, false, self.now)
    }

    /// Sends what the pace wants to send, up to `end`, and takes in the answer.
    fn send(&mut self, end: u64, outcome: PatchOutcome) {
        self.send_answered(end, &answer(outcome));
    }

    fn send_answered(&mut self, end: u64, answer: &PatchAnswer) {
        let start = self.pace.stored();
        self.pace.sending(start, end - start);
        self.pace.sent(start, end - start, Ok(answer), self.now);
    }

    fn fail(&mut self, end: u64) {
        let start = self.pace.stored();
        self.pace.sending(start, end - start);
        self.pace
            .sent(start, end - start, Err(&bad_gateway()), self.now);
    }
}

fn answer(outcome: PatchOutcome) -> PatchAnswer {
    PatchAnswer {
        outcome,
        length: None,
        remote: RemoteStatus::Running,
        interval: None,
    }
}

fn alive(outcome: UpdateOutcome, remote: RemoteStatus) -> UpdateAnswer {
    UpdateAnswer {
        outcome,
        remote,
        interval: None,
    }
}

fn bad_gateway() -> Error {
    Error::Status {
        what: "take a piece of the trace",
        status: StatusCode::BAD_GATEWAY,
        message: String::new(),
        retry_after: None,
    }
}

#[test]
fn the_first_output_goes_out_at_once_and_the_next_after_the_interval() {
    let mut world = World::new();
    assert_eq!(world.step(110), Step::Send(100));
    world.send(110, PatchOutcome::Accepted);
    assert_eq!(
        world.step(120),
        Step::Wait(world.now + Duration::from_secs(3))
    );
    world.pass(3);
    assert_eq!(world.step(120), Step::Send(110));
}

#[test]
fn a_full_piece_or_somebody_waiting_is_not_kept_waiting() {
    let mut world = World::new();
    world.send(110, PatchOutcome::Accepted);
    assert_eq!(world.step(110 + PIECE), Step::Send(110));
    assert_eq!(world.pace.step(120, true, world.now), Step::Send(110));
}

#[test]
fn gitlab_sets_the_interval() {
    let mut world = World::new();
    let slower = PatchAnswer {
        interval: Some(Duration::from_secs(10)),
        ..answer(PatchOutcome::Accepted)
    };
    world.send_answered(110, &slower);
    assert_eq!(
        world.step(120),
        Step::Wait(world.now + Duration::from_secs(10))
    );
}

#[test]
fn silence_is_broken_after_thirty_seconds() {
    let mut world = World::new();
    world.send(110, PatchOutcome::Accepted);
    world.pass(29);
    assert_eq!(
        world.step(110),
        Step::Wait(world.now + Duration::from_secs(1))
    );
    world.pass(1);
    assert_eq!(world.step(110), Step::SayAlive);
    let answer = alive(UpdateOutcome::Accepted, RemoteStatus::Running);
    world.pace.said_alive(Ok(&answer), world.now);
    assert_eq!(
        world.step(110),
        Step::Wait(world.now + Duration::from_secs(30))
    );
}

#[test]
fn a_lost_answer_is_no_other_writer() {
    let mut world = World::new();
    world.fail(150);
    world.pass(60);
    // The first piece had arrived after all; meanwhile there is more.
    world.send(170, PatchOutcome::Offset(150));
    assert_eq!(world.pace.remote(), Remote::Running);
    assert_eq!(world.step(170), Step::Send(150));
}

#[test]
fn what_gitlab_has_lost_is_sent_again() {
    let mut world = World::new();
    world.send(150, PatchOutcome::Accepted);
    world.pass(3);
    world.send(170, PatchOutcome::Offset(120));
    assert_eq!(world.step(170), Step::Send(120));
}

#[test]
fn a_trace_longer_than_ours_is_somebody_elses() {
    let mut world = World::new();
    world.send(150, PatchOutcome::Offset(151));
    assert_eq!(world.pace.remote(), Remote::Superseded);
    assert_eq!(world.step(1000), Step::Over);
}

#[test]
fn a_trace_shorter_than_our_beginning_is_not_ours_to_mend() {
    let mut world = World::new();
    world.send(150, PatchOutcome::Offset(99));
    assert_eq!(world.pace.remote(), Remote::Superseded);
}

#[test]
fn contradictions_slow_the_session_down() {
    let mut world = World::new();
    world.send(150, PatchOutcome::Offset(100));
    assert!(matches!(world.step(150), Step::Wait(until) if until > world.now));
    world.pass(60);
    assert_eq!(world.step(150), Step::Send(100));
    world.send(150, PatchOutcome::Accepted);
    world.pass(3);
    world.send(170, PatchOutcome::Offset(120));
    assert_eq!(world.step(170), Step::Send(120), "once is a correction");
    world.send(170, PatchOutcome::Offset(130));
    assert!(matches!(world.step(170), Step::Wait(_)), "twice is a fault");
}

#[test]
fn failures_are_tried_again_ever_more_slowly_but_nobody_waits_a_minute() {
    let mut world = World::new();
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        world.fail(150);
        let Step::Wait(until) = world.step(150) else {
            panic!("no pause")
        };
        longest = until - world.now;
        let Step::Wait(urgent) = world.pace.step(150, true, world.now) else {
            panic!("no pause")
        };
        assert!(urgent <= world.now + URGENT_PAUSE);
        world.now = until;
        assert_eq!(world.step(150), Step::Send(100));
    }
    assert!(longest >= Duration::from_secs(30) && longest <= Duration::from_mins(1));
    world.send(150, PatchOutcome::Accepted);
    world.fail(160);
    assert!(matches!(world.step(160), Step::Wait(until) if until <= world.now + URGENT_PAUSE));
}

#[test]
fn a_cancel_shows_and_the_trace_goes_on() {
    let mut world = World::new();
    let canceling = PatchAnswer {
        remote: RemoteStatus::Canceling,
        ..answer(PatchOutcome::Accepted)
    };
    world.send_answered(110, &canceling);
    assert_eq!(world.pace.remote(), Remote::Canceling);
    world.pass(3);
    assert_eq!(world.step(120), Step::Send(110));
    world.send(120, PatchOutcome::Accepted);
    assert_eq!(
        world.pace.remote(),
        Remote::Canceling,
        "a cancel is not taken back"
    );
}

#[test]
fn every_end_is_for_good() {
    for (outcome, remote, end) in [
        (
            PatchOutcome::Accepted,
            RemoteStatus::Canceled,
            Remote::Canceled,
        ),
        (
            PatchOutcome::Refused,
            RemoteStatus::Canceled,
            Remote::Canceled,
        ),
        (PatchOutcome::Refused, RemoteStatus::Running, Remote::Gone),
        (PatchOutcome::Accepted, RemoteStatus::Failed, Remote::Gone),
    ] {
        let mut world = World::new();
        world.send_answered(
            110,
            &PatchAnswer {
                remote,
                ..answer(outcome)
            },
        );
        assert_eq!(world.pace.remote(), end);
        assert_eq!(world.pace.step(200, true, world.now), Step::Over);
    }
    let mut world = World::new();
    let refused = alive(UpdateOutcome::Refused, RemoteStatus::Running);
    world.pace.said_alive(Ok(&refused), world.now);
    assert_eq!(world.pace.remote(), Remote::Gone);
}
