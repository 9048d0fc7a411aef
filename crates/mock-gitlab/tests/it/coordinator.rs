//! The runners' API: jobs/request, the job's state, its trace.

use std::time::{Duration, Instant};

use onspot_mock_gitlab::{Fault, JobCallKind, Status, Variable, ViolationKind};
use reqwest::Method;
use serde_json::{Value, json};

use crate::runner::{BOUND, Runner, Scene, header};

const ONE_JOB: &str = "job: {script: [echo hi], tags: [docker.m3]}";

#[tokio::test]
async fn the_pipeline_of_2017_from_push_to_success() {
    let scene = Scene::new().await;
    let yaml = include_str!("../../../../fixtures/cowsay/.gitlab-ci.yml");
    let pipeline = scene.push(yaml).await;

    let build = scene.runner.take().await;
    let sha = scene.gitlab.pipeline(pipeline).unwrap().sha;
    insta::assert_json_snapshot!("payload", build.payload, {
        ".token" => "[token]",
        ".git_info.repo_url" => "[url]",
        ".git_info.sha" => "[sha]",
        ".job_info.time_in_queue_seconds" => 0.5,
        ".variables" => "[variables]",
    });
    assert_eq!(build.text("/git_info/sha"), sha);
    for (key, value) in [
        ("CI_BUILD_REF", sha.as_str()),
        ("CI_BUILD_NAME", "build"),
        ("CI_BUILD_STAGE", "build"),
        ("CI_COMMIT_SHA", sha.as_str()),
        ("CI_JOB_NAME", "build"),
        ("CI_JOB_STAGE", "build"),
        ("CI_PROJECT_PATH", "root/app"),
        ("CI_JOB_TOKEN", build.token.as_str()),
    ] {
        assert_eq!(build.variable(key)["value"], value, "{key}");
    }
    assert_eq!(build.variable("CI_JOB_TOKEN")["masked"], true);
    assert_eq!(build.variable("CI_JOB_TOKEN")["public"], false);

    assert_eq!(
        scene.runner.poll(None).await.status(),
        204,
        "verify must wait for build"
    );
    scene.runner.run(&build, "building\n", true).await;
    let verify = scene.runner.take().await;
    assert_eq!(verify.text("/job_info/name"), "verify");
    scene.runner.run(&verify, "the ghost\n", true).await;

    let done = scene.gitlab.wait_pipeline(pipeline, BOUND).await.unwrap();
    assert_eq!(done.status, Status::Success);
    assert_eq!(scene.gitlab.trace(verify.id), "the ghost\n");
    assert!(scene.gitlab.violations().is_empty());
    let calls = scene.gitlab.calls(build.id);
    let states: Vec<&str> = calls
        .iter()
        .filter_map(|call| match &call.kind {
            JobCallKind::State { state, .. } => Some(state.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(states, ["running", "success"]);
    assert!(
        calls
            .iter()
            .all(|call| call.caller.user_agent == "test-runner 1.0")
    );
}

#[tokio::test]
async fn a_request_is_held_until_there_is_a_job() {
    let scene = Scene::with(|builder| builder.hold(Duration::from_mins(1))).await;
    // The first request returns the queue's value at once.
    let first = scene.runner.poll(None).await;
    assert_eq!(first.status(), 204);
    let last = header(&first, "X-GitLab-Last-Update").to_owned();
    assert!(!last.is_empty());

    let runner = scene.runner.clone();
    let held = tokio::spawn(async move { runner.poll(Some(&last)).await.status() });
    let began = Instant::now();
    scene.push(ONE_JOB).await;
    assert_eq!(held.await.unwrap(), 201);
    assert!(began.elapsed() < BOUND);
}

#[tokio::test]
async fn a_request_is_not_held_forever() {
    let scene = Scene::with(|builder| builder.hold(Duration::from_millis(50))).await;
    let last = header(&scene.runner.poll(None).await, "X-GitLab-Last-Update").to_owned();
    let second = scene.runner.poll(Some(&last)).await;
    assert_eq!(second.status(), 204);
    assert_eq!(header(&second, "X-GitLab-Last-Update"), last);
}

#[tokio::test]
async fn only_jobs_with_the_runners_tags() {
    let scene = Scene::new().await;
    scene.push("job: {script: x, tags: [gpu]}").await;
    assert_eq!(scene.runner.poll(None).await.status(), 204);
    let other = Runner::create(&scene.gitlab, &["gpu", "big"]).await;
    assert_eq!(other.take().await.text("/job_info/name"), "job");
}

#[tokio::test]
async fn a_trace_is_appended_by_ranges() {
    let scene = Scene::new().await;
    scene.push(ONE_JOB).await;
    let job = scene.runner.take().await;
    let first = scene.runner.patch(&job, 0, "hello ").await;
    assert_eq!(first.status(), 202);
    assert_eq!(header(&first, "Range"), "0-6");
    assert_eq!(header(&first, "Job-Status"), "running");
    assert_eq!(header(&first, "X-GitLab-Trace-Update-Interval"), "3");
    let gap = scene.runner.patch(&job, 9, "x").await;
    assert_eq!(gap.status(), 416);
    assert_eq!(header(&gap, "Range"), "0-6");
    assert_eq!(scene.runner.patch(&job, 6, "world").await.status(), 202);
    assert_eq!(scene.gitlab.trace(job.id), "hello world");

    let path = format!("/jobs/{}/trace", job.id);
    let bare = scene
        .runner
        .request(Method::PATCH, &path)
        .header("JOB-TOKEN", &job.token);
    assert_eq!(bare.send().await.unwrap().status(), 400);
    let stranger = scene
        .runner
        .request(Method::PATCH, &path)
        .header("JOB-TOKEN", "glcbt-no");
    assert_eq!(stranger.send().await.unwrap().status(), 403);
    let kinds: Vec<_> = scene
        .gitlab
        .violations()
        .into_iter()
        .map(|v| v.kind)
        .collect();
    assert_eq!(kinds, [ViolationKind::Malformed]);
}

#[tokio::test]
async fn nothing_is_accepted_after_the_end() {
    let scene = Scene::new().await;
    scene.push(ONE_JOB).await;
    let job = scene.runner.take().await;
    scene.runner.run(&job, "it failed\n", false).await;
    let view = scene.gitlab.job(job.id).unwrap();
    assert_eq!(view.failure_reason.as_deref(), Some("script_failure"));
    assert_eq!(view.exit_code, Some(3));

    let late = scene.runner.patch(&job, 10, "more").await;
    assert_eq!(late.status(), 403);
    assert_eq!(header(&late, "Job-Status"), "failed");
    assert_eq!(
        scene
            .runner
            .update(&job, json!({ "state": "success" }))
            .await
            .status(),
        403
    );
    let kinds: Vec<_> = scene
        .gitlab
        .violations()
        .into_iter()
        .map(|v| v.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            ViolationKind::WriteAfterEnd,
            ViolationKind::ConflictingResult
        ]
    );
    assert_eq!(scene.gitlab.trace(job.id), "it failed\n");
}

#[tokio::test]
async fn a_result_that_differs_from_the_trace_is_refused() {
    let scene = Scene::new().await;
    scene.push(ONE_JOB).await;
    let job = scene.runner.take().await;
    scene.runner.patch(&job, 0, "half").await;
    let result = json!({
        "state": "success", "output": { "checksum": "crc32:00000000", "bytesize": 9 },
    });
    assert_eq!(scene.runner.update(&job, result).await.status(), 412);
    assert_eq!(scene.gitlab.job(job.id).unwrap().status, Status::Running);
}

#[tokio::test]
async fn cancelling_a_running_job_lets_its_after_script_run() {
    let scene = Scene::new().await;
    let pipeline = scene.push(ONE_JOB).await;
    let job = scene.runner.take().await;
    let path = format!("/projects/{}/jobs/{}/cancel", scene.project.id, job.id);
    let answer = scene.rest(Method::POST, &path).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "canceling");
    let patch = scene.runner.patch(&job, 0, "after_script\n").await;
    assert_eq!(
        (patch.status().as_u16(), header(&patch, "Job-Status")),
        (202, "canceling")
    );
    let end = scene
        .runner
        .update(&job, json!({ "state": "failed" }))
        .await;
    assert_eq!(end.status(), 200);
    let done = scene.gitlab.wait_pipeline(pipeline, BOUND).await.unwrap();
    assert_eq!(done.status, Status::Canceled);
    assert!(scene.gitlab.violations().is_empty());
}

#[tokio::test]
async fn a_cancelled_waiting_job_is_given_to_nobody() {
    let scene = Scene::new().await;
    let pipeline = scene.push(ONE_JOB).await;
    let job = scene.gitlab.pipeline(pipeline).unwrap().jobs[0].id;
    assert!(scene.gitlab.cancel_job(job));
    assert_eq!(scene.runner.poll(None).await.status(), 204);
    assert_eq!(
        scene.gitlab.pipeline(pipeline).unwrap().status,
        Status::Canceled
    );
}

#[tokio::test]
async fn runners_register_verify_and_leave() {
    let scene = Scene::with(|builder| builder.registration_token("join")).await;
    let post = |path: &str, body: Value| {
        let request = scene.runner.request(Method::POST, path).json(&body);
        async move { request.send().await.unwrap() }
    };
    assert_eq!(
        post("/runners", json!({ "token": "wrong" })).await.status(),
        403
    );
    let made = post("/runners", json!({ "token": "join", "tag_list": ["a"] })).await;
    assert_eq!(made.status(), 201);
    let token = made.json::<Value>().await.unwrap()["token"].clone();
    let verified = post("/runners/verify", json!({ "token": token })).await;
    assert_eq!(verified.status(), 200);
    assert_eq!(verified.json::<Value>().await.unwrap()["token"], token);
    let leave = scene
        .runner
        .request(Method::DELETE, "/runners")
        .json(&json!({ "token": token }));
    assert_eq!(leave.send().await.unwrap().status(), 204);
    assert_eq!(
        post("/runners/verify", json!({ "token": token }))
            .await
            .status(),
        403
    );
    assert_eq!(
        post("/jobs/request", json!({ "token": token }))
            .await
            .status(),
        403
    );
}

#[tokio::test]
async fn a_job_whose_runner_is_gone_times_out() {
    let scene = Scene::with(|builder| builder.timeout_grace(Duration::ZERO)).await;
    let pipeline = scene.push("job: {script: x, timeout: 1s}").await;
    let job = scene.runner.take().await;
    assert_eq!(job.payload["runner_info"]["timeout"], 1);
    let done = scene.gitlab.wait_pipeline(pipeline, BOUND).await.unwrap();
    assert_eq!(
        done.jobs[0].failure_reason.as_deref(),
        Some("job_execution_timeout")
    );
    assert_eq!(scene.runner.patch(&job, 0, "x").await.status(), 403);
}

#[tokio::test]
async fn a_masked_variable_must_stay_out_of_the_trace() {
    let scene = Scene::new().await;
    let secret = Variable::secret("PASSWORD", "correct-horse");
    scene.gitlab.set_variable(scene.project.id, secret).unwrap();
    scene.push(ONE_JOB).await;
    let job = scene.runner.take().await;
    assert_eq!(job.variable("PASSWORD")["masked"], true);
    scene.runner.run(&job, "it is correct-horse\n", true).await;
    let kinds: Vec<_> = scene
        .gitlab
        .violations()
        .into_iter()
        .map(|v| v.kind)
        .collect();
    assert_eq!(kinds, [ViolationKind::UnmaskedSecret]);
}

#[tokio::test]
async fn injected_faults_make_calls_fail() {
    let scene = Scene::new().await;
    scene.push(ONE_JOB).await;
    scene.gitlab.fault(Fault::answer("/jobs/request", 503, 2));
    assert_eq!(scene.runner.poll(None).await.status(), 503);
    assert_eq!(scene.runner.poll(None).await.status(), 503);
    let job = scene.runner.take().await;
    scene
        .gitlab
        .fault(Fault::lose_answer("/trace", 1).method(Method::PATCH));
    assert_eq!(scene.runner.patch(&job, 0, "once").await.status(), 502);
    assert_eq!(scene.gitlab.trace(job.id), "once");
    assert_eq!(
        scene.runner.patch(&job, 0, "once").await.status(),
        202,
        "sent again"
    );
    assert_eq!(scene.gitlab.trace(job.id), "once");
    scene
        .gitlab
        .fault(Fault::delay("/jobs/", Duration::from_mins(10), 1));
    let slow = tokio::time::timeout(Duration::from_millis(50), scene.runner.patch(&job, 4, "x"));
    assert!(slow.await.is_err());
    assert!(scene.gitlab.violations().is_empty());
}
