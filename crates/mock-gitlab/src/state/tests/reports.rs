//! Traces and results: what is accepted, what is refused, what is recorded as a violation.

use super::scene::Scene;
use crate::record::ViolationKind;
use crate::state::{Appended, Update};

#[test]
fn a_trace_grows_only_at_its_end() {
    let mut scene = Scene::new("a: {script: x}");
    let job = scene.assign().unwrap();
    assert_eq!(
        scene.append(job, 0, "one ", "10.0.0.1"),
        Appended::Stored(4)
    );
    // A probe with a wrong offset is answered with the end and is no violation.
    assert_eq!(
        scene.append(job, 0, "", "10.0.0.2"),
        Appended::OutOfRange(4)
    );
    assert_eq!(
        scene.append(job, 9, "x", "10.0.0.2"),
        Appended::OutOfRange(4)
    );
    // The same bytes again, as after a lost answer.
    assert_eq!(
        scene.append(job, 0, "one ", "10.0.0.1"),
        Appended::Stored(4)
    );
    assert_eq!(scene.append(job, 4, "two", "10.0.0.2"), Appended::Stored(7));
    assert!(scene.kinds().is_empty());
    assert_eq!(
        scene.append(job, 4, "other", "10.0.0.1"),
        Appended::OutOfRange(7)
    );
    assert_eq!(scene.kinds(), [ViolationKind::OverlappingTrace]);
    assert_eq!(scene.state.jobs[&job].trace, b"one two");
}

#[test]
fn a_trace_too_long_fails_the_job() {
    let mut scene = Scene::new("a: {script: x}");
    let job = scene.assign().unwrap();
    assert_eq!(
        scene.append(job, 0, &"x".repeat(1001), "10.0.0.1"),
        Appended::Refused
    );
    assert_eq!(
        scene.state.jobs[&job].failure_reason.as_deref(),
        Some("trace_size_exceeded")
    );
}

#[test]
fn a_result_is_taken_once() {
    let mut scene = Scene::new("a: {script: x}");
    let job = scene.assign().unwrap();
    assert_eq!(scene.report(job, "running"), 200);
    assert_eq!(scene.report(job, "success"), 200);
    assert_eq!(scene.report(job, "success"), 403);
    assert_eq!(scene.report(job, "failed"), 403);
    assert_eq!(scene.append(job, 0, "late", "10.0.0.1"), Appended::Refused);
    let kinds = [
        ViolationKind::RepeatedResult,
        ViolationKind::ConflictingResult,
        ViolationKind::WriteAfterEnd,
    ];
    assert_eq!(scene.kinds(), kinds);
}

#[test]
fn a_result_must_fit_the_trace() {
    let mut scene = Scene::new("a: {script: x}");
    let job = scene.assign().unwrap();
    scene.append(job, 0, "half", "10.0.0.1");
    let update = Update {
        state: "success".to_owned(),
        checksum: Some(format!("crc32:{:08x}", crc32fast::hash(b"halfwhole"))),
        bytesize: Some(9),
        ..Update::default()
    };
    let caller = Scene::caller("10.0.0.1");
    assert_eq!(scene.state.report(job, &update, &caller, scene.now), 412);
    assert_eq!(
        scene.append(job, 0, "halfwhole", "10.0.0.1"),
        Appended::Stored(9)
    );
    assert_eq!(scene.state.report(job, &update, &caller, scene.now), 200);
    assert_eq!(scene.kinds(), [ViolationKind::TraceMismatch]);
}

#[test]
fn an_asynchronous_server_answers_202_first() {
    let mut scene = Scene::new("a: {script: x}");
    let job = scene.assign().unwrap();
    scene.state.jobs.get_mut(&job).unwrap().accepts_left = 2;
    let update = Update {
        state: "success".to_owned(),
        checksum: Some("crc32:00000000".to_owned()),
        ..Update::default()
    };
    let caller = Scene::caller("10.0.0.1");
    let answers: Vec<u16> = (0..3)
        .map(|_| scene.state.report(job, &update, &caller, scene.now))
        .collect();
    assert_eq!(answers, [202, 202, 200]);
    assert!(scene.kinds().is_empty());
}

#[test]
fn a_secret_in_the_trace_is_noticed() {
    let mut scene = Scene::new("a: {script: x}");
    let job = scene.assign().unwrap();
    scene.state.jobs.get_mut(&job).unwrap().secrets = vec!["hunter2-hunter2".to_owned()];
    scene.append(job, 0, "it is hunter2-", "10.0.0.1");
    scene.append(job, 14, "hunter2!", "10.0.0.1");
    scene.report(job, "success");
    assert_eq!(scene.kinds(), [ViolationKind::UnmaskedSecret]);
}
