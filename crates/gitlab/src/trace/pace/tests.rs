use http::StatusCode;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::trace::TracePosition;
use crate::trace::buffer::Buffer;

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

    /// Sends what the pace wants to send, up to `end`, and processes the answer.
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
fn a_full_or_urgent_piece_is_sent_at_once() {
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
fn a_keep_alive_is_sent_after_thirty_seconds() {
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
fn a_lost_answer_is_not_taken_for_another_writer() {
    let mut world = World::new();
    world.fail(150);
    world.pass(60);
    // The first piece had arrived after all; meanwhile there is more output.
    world.send(170, PatchOutcome::Offset(150));
    assert_eq!(world.pace.remote(), Remote::Running);
    assert_eq!(world.step(170), Step::Send(150));
}

#[test]
fn bytes_that_gitlab_lost_are_sent_again() {
    let mut world = World::new();
    world.send(150, PatchOutcome::Accepted);
    world.pass(3);
    world.send(170, PatchOutcome::Offset(120));
    assert_eq!(world.step(170), Step::Send(120));
}

#[test]
fn a_longer_trace_was_written_by_somebody_else() {
    let mut world = World::new();
    world.send(150, PatchOutcome::Offset(151));
    assert_eq!(world.pace.remote(), Remote::Superseded);
    assert_eq!(world.step(1000), Step::Over);
}

#[test]
fn a_trace_shorter_than_our_start_ends_the_session() {
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
fn retries_slow_down_but_a_waiting_caller_gets_quick_ones() {
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
fn a_cancel_is_noticed_and_the_trace_continues() {
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
fn every_end_is_final() {
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

/// What happens to one message to GitLab, or to GitLab's trace.
#[derive(Clone, Copy, Debug)]
enum Event {
    Write(u8),
    Arrives,
    IsLost,
    AnswerIsLost,
    /// GitLab loses the end of the trace, keeping this part of what it has.
    Forget(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    vec(
        prop_oneof![
            any::<u8>().prop_map(Event::Write),
            Just(Event::Arrives),
            Just(Event::IsLost),
            Just(Event::AnswerIsLost),
            any::<u8>().prop_map(Event::Forget),
        ],
        0..40,
    )
}

/// GitLab's trace, whose first byte was there before the session.
struct Server(Vec<u8>);

impl Server {
    /// GitLab's rule (`Ci::AppendBuildTraceService`): a piece must begin where the trace ends; one
    /// that ends there is taken as a repetition.
    fn append(&mut self, start: u64, piece: &[u8]) -> PatchOutcome {
        if start == self.0.len() as u64 {
            self.0.extend_from_slice(piece);
        }
        let length = self.0.len() as u64;
        if start + piece.len() as u64 == length {
            PatchOutcome::Accepted
        } else {
            PatchOutcome::Offset(length)
        }
    }
}

/// A session, with the server it writes to.
struct Exchange {
    server: Server,
    buffer: Buffer,
    world: World,
}

impl Exchange {
    fn new() -> Self {
        let now = Instant::now();
        let begin = TracePosition {
            offset: 1,
            crc32: None,
        };
        Self {
            server: Server(vec![b'>']),
            buffer: Buffer::new(begin, 1 << 20),
            world: World {
                pace: Pace::new(1, &TraceOptions::default(), now),
                now,
            },
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Write(byte) => self.buffer.append(&vec![byte; usize::from(byte % 7) + 1]),
            Event::Forget(part) => {
                let kept = (self.server.0.len() - 1) * usize::from(part) / 255;
                self.server.0.truncate(kept + 1);
            }
            _ => self.exchange(event),
        }
    }

    /// Exchanges one message, if there is one to send.
    fn exchange(&mut self, event: Event) {
        self.world.pass(61);
        let Step::Send(start) = self.world.step(self.buffer.end()) else {
            return;
        };
        let piece = self.buffer.piece(start, 11).to_vec();
        let length = piece.len() as u64;
        let World { pace, now } = &mut self.world;
        pace.sending(start, length);
        let arrived = !matches!(event, Event::IsLost);
        let outcome = arrived.then(|| self.server.append(start, &piece));
        match outcome.filter(|_| matches!(event, Event::Arrives)) {
            Some(outcome) => pace.sent(start, length, Ok(&answer(outcome)), *now),
            None => pace.sent(start, length, Err(&bad_gateway()), *now),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn despite_losses_the_trace_arrives_once_and_in_order(events in events()) {
        let mut exchange = Exchange::new();
        for event in events {
            exchange.happen(event);
        }
        // From now on nothing gets lost. One more byte reveals GitLab's losses.
        exchange.buffer.append(b"!");
        for _ in 0..200 {
            exchange.happen(Event::Arrives);
        }
        prop_assert_eq!(exchange.world.pace.remote(), Remote::Running);
        let written = exchange.buffer.piece(1, usize::MAX);
        prop_assert_eq!(&exchange.server.0[1..], written);
    }
}
