//! The order of jobs: which start, which are skipped, which are retried.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;

use super::scene::Scene;
use crate::state::Appended;

fn expected(pairs: &[(&str, &'static str)]) -> BTreeMap<String, &'static str> {
    pairs
        .iter()
        .map(|(name, status)| ((*name).to_owned(), *status))
        .collect()
}

const TWO_STAGES: &str =
    "stages: [one, two]\na: {stage: one, script: x}\nb: {stage: two, script: x}";

#[test]
fn a_stage_waits_for_the_one_before() {
    let mut scene = Scene::new(TWO_STAGES);
    assert_eq!(
        scene.statuses(),
        expected(&[("", "pending"), ("a", "pending"), ("b", "created")])
    );
    let a = scene.assign().unwrap();
    assert_eq!(scene.assign(), None);
    assert_eq!(scene.statuses()[""], "running");
    scene.end(a, true);
    let b = scene.assign().unwrap();
    assert_eq!(scene.name(b), "b");
    scene.end(b, true);
    assert_eq!(
        scene.statuses(),
        expected(&[("", "success"), ("a", "success"), ("b", "success")])
    );
}

#[test]
fn a_failure_skips_jobs_that_require_success() {
    let mut scene = Scene::new(
        "stages: [one, two]\na: {stage: one, script: x}\nb: {stage: two, script: x}\n\
         c: {stage: two, script: x, when: on_failure}\nd: {stage: two, script: x, when: always}",
    );
    let a = scene.assign().unwrap();
    scene.end(a, false);
    let all = [
        ("", "running"),
        ("a", "failed"),
        ("b", "skipped"),
        ("c", "pending"),
        ("d", "pending"),
    ];
    assert_eq!(scene.statuses(), expected(&all));
}

#[test]
fn nothing_runs_after_a_cancelled_job() {
    let mut scene = Scene::new(
        "stages: [one, two]\na: {stage: one, script: x}\n\
         c: {stage: two, script: x, when: on_failure}\nd: {stage: two, script: x, when: always}",
    );
    let a = scene.assign().unwrap();
    assert!(scene.state.cancel_job(a, true, scene.now));
    let all = [
        ("", "canceled"),
        ("a", "canceled"),
        ("c", "skipped"),
        ("d", "skipped"),
    ];
    assert_eq!(scene.statuses(), expected(&all));
}

#[test]
fn starting_a_manual_job_revives_the_jobs_skipped_without_it() {
    let mut scene = Scene::new(
        "stages: [one, two]\na: {stage: one, script: x, when: manual, allow_failure: true}\n\
         b: {stage: two, script: x, needs: [a]}",
    );
    assert_eq!(scene.statuses()["b"], "skipped");
    let (&a, _) = scene
        .state
        .jobs
        .iter()
        .find(|(_, job)| job.spec.name == "a")
        .unwrap();
    assert!(scene.state.play_job(a, scene.now));
    assert_eq!(scene.statuses()["b"], "created");
    let a = scene.assign().unwrap();
    scene.end(a, true);
    assert_eq!(scene.statuses()["b"], "pending");
}

#[test]
fn an_allowed_failure_blocks_nothing() {
    let mut scene = Scene::new(
        "stages: [one, two]\na: {stage: one, script: x, allow_failure: true}\nb: {stage: two, script: x}",
    );
    let a = scene.assign().unwrap();
    scene.end(a, false);
    let b = scene.assign().unwrap();
    scene.end(b, true);
    assert_eq!(scene.statuses()[""], "success");
}

#[test]
fn needs_go_past_stages() {
    let mut scene = Scene::new(
        "stages: [one, two]\na: {stage: one, script: x}\nslow: {stage: one, script: x}\n\
         b: {stage: two, script: x, needs: [a]}\nc: {stage: two, script: x, needs: []}\n\
         d: {stage: two, script: x, needs: [b]}",
    );
    assert_eq!(scene.statuses()["c"], "pending");
    let a = scene.assign().unwrap();
    assert_eq!(scene.name(a), "a");
    scene.end(a, true);
    assert_eq!(scene.statuses()["b"], "pending");
    assert_eq!(scene.statuses()["slow"], "pending");
    assert_eq!(scene.statuses()["d"], "created");
}

#[test]
fn a_skipped_need_skips_too() {
    let mut scene = Scene::new(
        "stages: [one, two, three]\na: {stage: one, script: x}\n\
         b: {stage: two, script: x, needs: [a]}\nc: {stage: three, script: x, needs: [b]}",
    );
    let a = scene.assign().unwrap();
    scene.end(a, false);
    let all = [
        ("", "failed"),
        ("a", "failed"),
        ("b", "skipped"),
        ("c", "skipped"),
    ];
    assert_eq!(scene.statuses(), expected(&all));
}

#[test]
fn retry_creates_a_new_job() {
    let mut scene = Scene::new("a: {script: x, retry: {max: 1, when: script_failure}}");
    let first = scene.assign().unwrap();
    scene.end(first, false);
    assert_eq!(
        scene.statuses(),
        expected(&[("", "pending"), ("a", "pending")])
    );
    let second = scene.assign().unwrap();
    assert_ne!(first, second);
    scene.end(second, false);
    assert_eq!(
        scene.statuses(),
        expected(&[("", "failed"), ("a", "failed")])
    );
    assert_eq!(scene.assign(), None);
}

#[test]
fn retry_is_for_the_named_reasons() {
    let mut scene = Scene::new("a: {script: x, retry: {max: 2, when: runner_system_failure}}");
    let job = scene.assign().unwrap();
    scene.end(job, false);
    assert_eq!(scene.statuses()["a"], "failed");
}

#[test]
fn after_a_manual_retry_the_pipeline_continues() {
    let mut scene = Scene::new(TWO_STAGES);
    let a = scene.assign().unwrap();
    scene.end(a, false);
    assert_eq!(scene.statuses()["b"], "skipped");
    scene.state.retry_job(a, scene.now).unwrap();
    assert_eq!(scene.statuses()["b"], "created");
    let again = scene.assign().unwrap();
    scene.end(again, true);
    assert_eq!(scene.statuses()["b"], "pending");
}

#[test]
fn a_manual_job_waits_for_a_person() {
    let mut scene = Scene::new(
        "stages: [one, two]\na: {stage: one, script: x, when: manual, allow_failure: false}\n\
         b: {stage: two, script: x}",
    );
    assert_eq!(
        scene.statuses(),
        expected(&[("", "manual"), ("a", "manual"), ("b", "created")])
    );
    let a = scene.state.latest_jobs(scene.pipeline)[0].id;
    assert!(scene.state.play_job(a, scene.now));
    assert_eq!(scene.assign(), Some(a));
}

#[test]
fn a_runner_gets_only_jobs_with_its_tags() {
    let mut scene =
        Scene::new("a: {script: x, tags: [gpu]}\nb: {script: x, tags: [a]}\nc: {script: x}");
    let names: Vec<_> = std::iter::from_fn(|| scene.assign()).collect();
    let names: Vec<_> = names
        .into_iter()
        .map(|job| scene.name(job).to_owned())
        .collect();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn canceling_waits_for_the_runner_if_it_can() {
    let mut scene = Scene::new("a: {script: x}");
    let info = serde_json::json!({ "features": { "cancel_gracefully": true } });
    let now = scene.now;
    scene
        .state
        .contacted(scene.runner, "s_1", Some(info), "10.0.0.1", now);
    let job = scene.assign().unwrap();
    assert!(scene.state.cancel_job(job, false, now));
    assert_eq!(
        scene.statuses(),
        expected(&[("", "canceling"), ("a", "canceling")])
    );
    assert!(matches!(
        scene.append(job, 0, "after_script", "10.0.0.1"),
        Appended::Stored(12)
    ));
    assert_eq!(scene.report(job, "failed"), 200);
    assert_eq!(
        scene.statuses(),
        expected(&[("", "canceled"), ("a", "canceled")])
    );
    assert!(scene.kinds().is_empty());
}

#[test]
fn canceling_is_over_at_once_if_the_runner_cannot() {
    let mut scene = Scene::new(TWO_STAGES);
    let job = scene.assign().unwrap();
    scene.state.cancel_pipeline(scene.pipeline, scene.now);
    let all = [("", "canceled"), ("a", "canceled"), ("b", "canceled")];
    assert_eq!(scene.statuses(), expected(&all));
    // The runner learns of it with its next call, which is no violation.
    assert_eq!(scene.append(job, 0, "more", "10.0.0.1"), Appended::Refused);
    assert_eq!(scene.report(job, "success"), 403);
    assert!(scene.kinds().is_empty());
}

#[test]
fn time_runs_out() {
    let mut scene = Scene::new("a: {script: x, timeout: 1m}");
    let job = scene.assign().unwrap();
    let grace = Duration::from_secs(10);
    let after = |seconds| scene.now + SignedDuration::from_secs(seconds);
    assert!(!scene.state.has_late_jobs(grace, after(70)));
    assert!(scene.state.has_late_jobs(grace, after(71)));
    let late = after(71);
    scene.state.enforce_timeouts(grace, late);
    assert_eq!(
        scene.state.jobs[&job].failure_reason.as_deref(),
        Some("job_execution_timeout")
    );
    assert_eq!(scene.statuses()[""], "failed");
}

#[test]
fn artifacts_come_from_the_predecessors() {
    let scene = Scene::new(
        "stages: [one, two]\na: {stage: one, script: x}\nb: {stage: one, script: x}\n\
         all: {stage: two, script: x}\nsome: {stage: two, script: x, dependencies: [a]}\n\
         needy: {stage: two, script: x, needs: [{job: a, artifacts: false}, b]}",
    );
    let of = |name: &str| -> Vec<String> {
        let jobs = scene.state.latest_jobs(scene.pipeline);
        let job = jobs.iter().find(|job| job.spec.name == name).unwrap();
        scene
            .state
            .dependencies(job)
            .iter()
            .map(|job| job.spec.name.clone())
            .collect()
    };
    assert_eq!(of("all"), ["a", "b"]);
    assert_eq!(of("some"), ["a"]);
    assert_eq!(of("needy"), ["b"]);
}
