//! Resource groups, and automatic cancellation of pipelines.

use super::scene::Scene;

/// The states of the jobs of all pipelines, in order.
fn all(scene: &Scene) -> Vec<&'static str> {
    scene
        .state
        .jobs
        .values()
        .map(|job| job.status.as_str())
        .collect()
}

#[test]
fn one_job_of_a_resource_group_runs_at_a_time() {
    let mut scene = Scene::new(
        "a: {script: x, resource_group: r}\nb: {script: x, resource_group: r}\n\
         c: {script: x, resource_group: other}\nd: {script: x}",
    );
    assert_eq!(
        all(&scene),
        ["pending", "waiting_for_resource", "pending", "pending"]
    );
    let a = scene.assign().unwrap();
    scene.push("a: {script: x, resource_group: r}");
    assert_eq!(all(&scene)[4], "waiting_for_resource");
    scene.end(a, false);
    assert_eq!(
        all(&scene),
        [
            "failed",
            "pending",
            "pending",
            "pending",
            "waiting_for_resource"
        ]
    );
    let b = scene.state.latest_jobs(scene.pipeline)[1].id;
    assert!(scene.state.cancel_job(b, true, scene.now));
    assert_eq!(all(&scene)[4], "pending", "also over pipelines");
}

#[test]
fn a_job_that_waits_for_a_resource_can_be_cancelled() {
    let mut scene =
        Scene::new("a: {script: x, resource_group: r}\nb: {script: x, resource_group: r}");
    scene.assign().unwrap();
    assert_eq!(scene.statuses()[""], "running");
    let b = scene.state.latest_jobs(scene.pipeline)[1].id;
    assert!(scene.state.cancel_job(b, false, scene.now));
    assert_eq!(all(&scene), ["running", "canceled"]);
}

const TWO: &str = "a: {script: x, interruptible: true}\nb: {script: x, needs: []}";

#[test]
fn a_new_commit_cancels_interruptible_jobs() {
    let mut scene = Scene::new(TWO);
    scene.assign().unwrap();
    scene.push(TWO);
    assert_eq!(all(&scene), ["canceled", "canceled", "pending", "pending"]);
}

#[test]
fn a_new_commit_keeps_a_pipeline_with_a_started_uninterruptible_job() {
    let mut scene = Scene::new(TWO);
    scene.assign().unwrap();
    let b = scene.assign().unwrap();
    assert_eq!(scene.name(b), "b");
    scene.push(TWO);
    assert_eq!(all(&scene), ["running", "running", "pending", "pending"]);
}

#[test]
fn a_pipeline_configures_what_a_new_commit_does_to_it() {
    let with = |word: &str| format!("workflow: {{auto_cancel: {{on_new_commit: {word}}}}}\n{TWO}");
    let mut scene = Scene::new(&with("none"));
    scene.push(TWO);
    assert_eq!(all(&scene)[..2], ["pending", "pending"]);
    let mut scene = Scene::new(&with("interruptible"));
    scene.assign().unwrap();
    scene.assign().unwrap();
    scene.push(TWO);
    assert_eq!(all(&scene)[..2], ["canceled", "running"]);
}

#[test]
fn a_failure_cancels_the_rest_if_configured() {
    let jobs = "a: {script: x}\nb: {script: x}\nc: {script: x, allow_failure: true}";
    let mut scene = Scene::new(&format!(
        "workflow: {{auto_cancel: {{on_job_failure: all}}}}\n{jobs}"
    ));
    let c = scene.state.latest_jobs(scene.pipeline)[2].id;
    for _ in 0..3 {
        scene.assign().unwrap();
    }
    scene.end(c, false);
    assert_eq!(all(&scene), ["running", "running", "failed"]);
    let a = scene.state.latest_jobs(scene.pipeline)[0].id;
    scene.end(a, false);
    assert_eq!(all(&scene), ["failed", "canceled", "failed"]);
    assert_eq!(scene.statuses()[""], "failed");
}
