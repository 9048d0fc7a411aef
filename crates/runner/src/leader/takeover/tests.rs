use onspot_ledger::{BootId, JobLabel, RunnerName, WorkerId};

use super::*;

const JOB: u64 = 7;
const ALIVE: WorkerStatus = WorkerStatus {
    gone: false,
    silent_for: Duration::ZERO,
    revoked_for: Duration::ZERO,
    unreadable: false,
};
const SILENT: WorkerStatus = WorkerStatus {
    gone: false,
    silent_for: Duration::from_mins(3),
    revoked_for: Duration::ZERO,
    unreadable: false,
};
const GONE: WorkerStatus = WorkerStatus {
    gone: true,
    silent_for: Duration::ZERO,
    revoked_for: Duration::ZERO,
    unreadable: false,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn record(restart: Restart) -> Record {
    let worker = WorkerId::of("AROA", "i-1");
    Record::received(JobLabel::default(), restart, at(0), at(3600))
        .assigned(&worker, None, at(100))
        .unwrap()
}

fn order() -> Order {
    Order::empty(&RunnerName::new("r"))
}

fn state(phase: Option<AttemptPhase>) -> State {
    let mut state = State::first(&BootId::new("b"), "1", 1, at(0));
    if let Some(phase) = phase {
        state.accept(JOB, 1, at(0));
        state.advance(JOB, 1, phase);
    }
    state
}

fn judged(
    restart: Restart,
    order: &Order,
    phase: Option<AttemptPhase>,
    status: WorkerStatus,
) -> Judgement {
    let state = state(phase);
    judge(
        JOB,
        &record(restart),
        Some(order),
        Some(&state),
        status,
        &Timing::default(),
        at(200),
    )
}

fn result() -> AttemptPhase {
    AttemptPhase::Result {
        verdict: Verdict::success(),
    }
}

fn given_up(started: bool) -> AttemptPhase {
    AttemptPhase::GivenUp {
        started,
        why: "it will be taken away".to_owned(),
    }
}

#[test]
fn an_absent_order_is_written_and_a_silent_worker_gets_none() {
    assert_eq!(
        judged(Restart::Allowed, &order(), None, ALIVE),
        Judgement::Order
    );
    let silent = judged(Restart::Allowed, &order(), None, SILENT);
    assert!(matches!(silent, Judgement::Revoke { .. }), "{silent:?}");
}

#[test]
fn a_worker_at_work_is_left_alone() {
    for phase in [
        None,
        Some(AttemptPhase::Preparing),
        Some(AttemptPhase::Started),
        Some(result()),
    ] {
        assert_eq!(
            judged(Restart::Allowed, &order().asked(JOB, 1), phase, ALIVE),
            Judgement::Keep
        );
    }
}

#[test]
fn silence_is_followed_by_revocation_and_only_then_by_judgement() {
    for phase in [None, Some(AttemptPhase::Started), Some(result())] {
        let asked = order().asked(JOB, 1);
        let first = judged(Restart::Allowed, &asked, phase.clone(), SILENT);
        assert!(matches!(first, Judgement::Revoke { .. }), "{first:?}");
        let second = judged(Restart::Allowed, &asked.revoked(JOB, 1), phase, SILENT);
        assert!(
            !matches!(second, Judgement::Revoke { .. } | Judgement::Keep),
            "{second:?}"
        );
    }
}

#[test]
fn a_revoked_attempt_goes_by_its_state() {
    let revoked = order().revoked(JOB, 1);
    let judged = |phase, status| judged(Restart::Allowed, &revoked, phase, status);
    assert!(matches!(
        judged(Some(result()), ALIVE),
        Judgement::Adopt { .. }
    ));
    assert!(matches!(
        judged(None, ALIVE),
        Judgement::Retry { started: false, .. }
    ));
    let preparing = judged(Some(AttemptPhase::Preparing), ALIVE);
    assert!(matches!(preparing, Judgement::Retry { started: false, .. }));
    assert_eq!(judged(Some(AttemptPhase::Started), ALIVE), Judgement::Keep);
    let silent = judged(Some(AttemptPhase::Started), SILENT);
    assert!(matches!(silent, Judgement::Retry { started: true, .. }));
    let given_up = judged(Some(given_up(true)), ALIVE);
    assert!(matches!(given_up, Judgement::Retry { started: true, .. }));
}

#[test]
fn terminated_replaces_silence_and_revocation() {
    let asked = order().asked(JOB, 1);
    let judged = |phase| judged(Restart::Allowed, &asked, phase, GONE);
    assert!(matches!(judged(Some(result())), Judgement::Adopt { .. }));
    assert!(matches!(
        judged(None),
        Judgement::Retry { started: false, .. }
    ));
    let started = judged(Some(AttemptPhase::Started));
    let Judgement::Retry { why, started: true } = started else {
        panic!("{started:?}")
    };
    assert_eq!(why, "worker i-1 was terminated");
}

#[test]
fn what_must_not_be_started_twice_fails_once_it_was_started() {
    let asked = order().asked(JOB, 1);
    let judged = |phase| judged(Restart::Never, &asked, phase, GONE);
    assert!(matches!(
        judged(Some(AttemptPhase::Preparing)),
        Judgement::Retry { .. }
    ));
    assert!(matches!(judged(Some(result())), Judgement::Adopt { .. }));
    let failed = judged(Some(AttemptPhase::Started));
    let Judgement::Fail { verdict, .. } = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(
        verdict.failure_reason.as_deref(),
        Some("runner_system_failure")
    );
}

#[test]
fn a_job_is_handed_on_only_if_the_time_left_covers_what_it_took() {
    let (record, asked) = (record(Restart::Allowed), order().asked(JOB, 1));
    let judged = |now| {
        let state = state(Some(AttemptPhase::Started));
        judge(
            JOB,
            &record,
            Some(&asked),
            Some(&state),
            GONE,
            &Timing::default(),
            at(now),
        )
    };
    assert!(matches!(judged(1800), Judgement::Retry { .. }));
    let failed = judged(1900);
    let Judgement::Fail { verdict, .. } = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(
        verdict.message.unwrap(),
        "worker i-1 was terminated, and the 1700 s left of its time do not cover the 1800 s it \
         took so far"
    );
}

#[test]
fn a_worker_that_takes_no_new_jobs_gives_back_what_it_never_took() {
    let asked = order().asked(JOB, 1);
    let mut state = state(None);
    state.intake = Intake::Draining;
    let record = record(Restart::Allowed);
    let timing = Timing::default();
    let judged = judge(
        JOB,
        &record,
        Some(&asked),
        Some(&state),
        ALIVE,
        &timing,
        at(200),
    );
    assert!(matches!(judged, Judgement::Revoke { .. }), "{judged:?}");
}

#[test]
fn what_the_worker_told_is_confirmed() {
    let phase = AttemptPhase::Reported {
        verdict: Verdict::success(),
    };
    for (order, status) in [
        (order().asked(JOB, 1), ALIVE),
        (order().revoked(JOB, 1), ALIVE),
        (order().asked(JOB, 1), GONE),
    ] {
        let judged = judged(Restart::Allowed, &order, Some(phase.clone()), status);
        assert!(matches!(judged, Judgement::Confirm { .. }), "{judged:?}");
    }
}

#[test]
fn who_does_not_give_up_what_was_revoked_is_terminated_in_the_end() {
    let revoked = order().revoked(JOB, 1);
    let judged = |status| {
        judged(
            Restart::Allowed,
            &revoked,
            Some(AttemptPhase::Started),
            status,
        )
    };
    let for_seconds = |seconds| WorkerStatus {
        revoked_for: Duration::from_secs(seconds),
        ..ALIVE
    };
    assert_eq!(judged(for_seconds(179)), Judgement::Keep);
    assert_eq!(judged(for_seconds(180)), Judgement::Evict);
}

#[test]
fn an_attempt_whose_state_cannot_be_read_counts_as_started() {
    let judge = |order: &Order, status| {
        let (record, timing) = (record(Restart::Never), Timing::default());
        let status = WorkerStatus {
            unreadable: true,
            ..status
        };
        super::judge(JOB, &record, Some(order), None, status, &timing, at(200))
    };
    let (asked, revoked) = (order().asked(JOB, 1), order().revoked(JOB, 1));
    assert_eq!(judge(&asked, ALIVE), Judgement::Keep);
    assert_eq!(judge(&revoked, ALIVE), Judgement::Keep, "it may still run");
    for status in [SILENT, GONE] {
        let lost = judge(&revoked, status);
        assert!(matches!(lost, Judgement::Fail { .. }), "{lost:?}");
    }
}
