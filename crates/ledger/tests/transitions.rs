//! The transitions of records, orders and states, in the order in which a job goes through them.

use jiff::Timestamp;
use onspot_ledger::{
    Ask, AttemptPhase, BootId, Condition, Ending, JobLabel, Key, Ledger, MemoryLedger, Object,
    Order, Phase, Record, Restart, RunnerName, State, Step, Verdict, WorkerId, create, overview,
    replace,
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn worker(instance: &str) -> WorkerId {
    WorkerId::of("AROA", instance)
}

fn waiting() -> Record {
    Record::received(JobLabel::default(), Restart::Allowed, NOW, NOW)
}

#[test]
fn a_job_goes_from_waiting_to_done() {
    let record = waiting().assigned(&worker("i-1"), None, NOW).unwrap();
    assert_eq!(record.worker(), Some(&worker("i-1")));
    let record = record.finishing(Verdict::success(), NOW).unwrap();
    assert!(
        matches!(&record.phase, Phase::Finishing { worker: Some(w), .. } if w.instance() == "i-1")
    );
    let record = record.done(NOW).unwrap();
    assert!(
        matches!(&record.phase, Phase::Done { verdict, .. } if verdict.ending == Ending::Success)
    );
    insta::assert_json_snapshot!(record);
}

#[test]
fn a_lost_attempt_is_followed_by_the_next() {
    let record = waiting().assigned(&worker("i-1"), None, NOW).unwrap();
    let record = record
        .next_attempt("it was silent for 3 m", true, None, NOW)
        .unwrap();
    assert_eq!((record.attempt, &record.phase), (2, &Phase::Waiting));
    let losses: Vec<_> = record
        .losses()
        .map(|(w, n, why)| (w.instance(), n, why))
        .collect();
    assert_eq!(losses, [("i-1", 1, "it was silent for 3 m")]);
    assert_eq!(record.assigned_at(), None);
    let record = record.assigned(&worker("i-2"), None, NOW).unwrap();
    assert_eq!(record.assigned_at(), Some(NOW));
}

#[test]
fn a_change_from_the_wrong_phase_is_an_error() {
    let error = waiting()
        .next_attempt("lost", false, None, NOW)
        .unwrap_err();
    assert_eq!(error.to_string(), "a job that is waiting cannot be lost");
    let finishing = waiting().finishing(Verdict::canceled(), NOW).unwrap();
    finishing.assigned(&worker("i-1"), None, NOW).unwrap_err();
    finishing.finishing(Verdict::success(), NOW).unwrap_err();
    waiting().done(NOW).unwrap_err();
}

#[test]
fn an_order_forgets_a_job_only_after_its_record_has_left_the_attempt() {
    let order = Order::empty(&RunnerName::new("r")).asked(7, 1);
    assert!(order.runs(7, 1) && !order.runs(7, 2) && !order.revokes(7, 1));
    let assigned = waiting().assigned(&worker("i-1"), None, NOW).unwrap();
    assert!(
        !assigned.releases(&worker("i-1"), &order, 7),
        "the record is in the attempt"
    );

    let order = order.revoked(7, 1);
    assert_eq!(order.entries[&7].ask, Ask::Revoked);
    assert!(
        !assigned.releases(&worker("i-1"), &order, 7),
        "revoking is not leaving"
    );

    let next = assigned.next_attempt("lost", true, None, NOW).unwrap();
    assert!(next.releases(&worker("i-1"), &order, 7));
    let finishing = assigned.finishing(Verdict::success(), NOW).unwrap();
    assert!(
        !finishing.releases(&worker("i-1"), &order, 7),
        "GitLab is to be told first"
    );
    assert!(
        finishing
            .done(NOW)
            .unwrap()
            .releases(&worker("i-1"), &order, 7)
    );
    assert!(order.released(7).entries.is_empty());
}

#[test]
fn a_restarted_agent_never_repeats_a_listed_attempt() {
    let mut state = State::first(&BootId::new("a"), "1", 3, NOW);
    for job in [1, 2, 3] {
        assert!(state.accept(job, 1, NOW));
        assert!(!state.accept(job, 1, NOW), "never twice for one attempt");
    }
    state.advance(2, 1, AttemptPhase::Started);
    state.advance(3, 1, AttemptPhase::Started);
    state.advance(
        3,
        1,
        AttemptPhase::Result {
            verdict: Verdict::success(),
        },
    );
    assert_eq!((state.free_slots(), state.uses), (0, 3));

    let state = state.restarted(&BootId::new("b"), "2", NOW);
    let given_up = |job| matches!(state.jobs[&job].phase, AttemptPhase::GivenUp { started, .. } if started == (job == 2));
    assert!(given_up(1) && given_up(2));
    assert!(
        matches!(state.jobs[&3].phase, AttemptPhase::Result { .. }),
        "resumed at rule 7"
    );
    let mut state = state;
    for job in [1, 2, 3] {
        assert!(!state.accept(job, 1, NOW));
    }
    assert!(
        state.accept(1, 2, NOW),
        "the next attempt is another matter"
    );
}

#[test]
fn a_state_forgets_jobs_that_left_the_order() {
    let mut state = State::first(&BootId::new("a"), "1", 2, NOW);
    state.accept(1, 1, NOW);
    state.accept(2, 1, NOW);
    let order = Order::empty(&RunnerName::new("r"));
    state.forget_released(&order.revoked(1, 1), |job| job == 2);
    assert_eq!(
        state.jobs.len(),
        2,
        "one is named, one is still being stopped"
    );
    state.forget_released(&order, |_| false);
    assert!(state.jobs.is_empty());
}

#[test]
fn an_attempt_that_is_over_stays_as_it_is() {
    let mut state = State::first(&BootId::new("a"), "1", 1, NOW);
    state.accept(1, 1, NOW);
    state.step(1, 1, Step::new("prepared", NOW));
    let over = AttemptPhase::GivenUp {
        started: false,
        why: "revoked".to_owned(),
    };
    state.advance(1, 1, over.clone());
    state.advance(1, 1, AttemptPhase::Started);
    state.advance(1, 2, AttemptPhase::Started);
    assert_eq!(state.jobs[&1].phase, over);
    assert_eq!(state.jobs[&1].steps.len(), 2);
    assert_eq!(state.free_slots(), 1);
}

#[tokio::test]
async fn every_write_counts() {
    let ledger = MemoryLedger::new();
    let key = Key::order(&worker("i-1"));
    let empty = create(&ledger, &key, Order::empty(&RunnerName::new("r")))
        .await
        .unwrap()
        .unwrap();
    let asked = replace(&ledger, &key, &empty, empty.value.asked(7, 1))
        .await
        .unwrap()
        .unwrap();
    let back = replace(&ledger, &key, &asked, asked.value.released(7))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(back.value.counter(), 2);
    // The content is the same as at first, but the version is not.
    assert_ne!(back.etag, empty.etag);
    assert_eq!(
        replace(&ledger, &key, &empty, empty.value.asked(7, 1))
            .await
            .unwrap(),
        None
    );

    let found = overview(&ledger).await.unwrap();
    assert_eq!(found.orders.len(), 1);
    assert!(found.records.is_empty() && found.leader.is_none());
}

#[tokio::test]
async fn an_unreadable_state_does_not_hide_the_others() {
    let ledger = MemoryLedger::new();
    let (good, bad) = (worker("i-1"), worker("i-2"));
    let state = State::first(&BootId::new("b"), "1", 1, Timestamp::UNIX_EPOCH);
    create(&ledger, &Key::state(&good), state).await.unwrap();
    let key = Key::state(&bad);
    let nonsense = b"{}".to_vec();
    ledger
        .put_if(key.as_str(), nonsense, Condition::Absent)
        .await
        .unwrap();
    let found = overview(&ledger).await.unwrap();
    assert_eq!(found.states.keys().collect::<Vec<_>>(), [&good]);
}
