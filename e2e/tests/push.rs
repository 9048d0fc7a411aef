//! `onspot-world push`, as people and scripts use it.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use std::path::Path;
use std::process::Output;

use onspot_mock_gitlab::{MockGitlab, NewRunner};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

/// A GitLab, and a runner controlled by the test.
struct Scene {
    gitlab: MockGitlab,
    token: String,
    client: reqwest::Client,
}

impl Scene {
    async fn new() -> Self {
        let gitlab = MockGitlab::builder().start().await.unwrap();
        let token = gitlab.create_runner(NewRunner {
            run_untagged: true,
            ..NewRunner::default()
        });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            gitlab,
            token,
            client,
        }
    }

    fn call(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = self.gitlab.url().join("/api/v4/").unwrap();
        self.client.request(method, url.join(path).unwrap())
    }

    /// Wait for a job.
    async fn job(&self) -> Value {
        let mut last = String::new();
        loop {
            let body = json!({ "token": self.token, "last_update": last });
            let request = self.call(Method::POST, "jobs/request").json(&body);
            let answer = request.send().await.unwrap();
            if answer.status() == 201 {
                return answer.json().await.unwrap();
            }
            let seen = &answer.headers()["X-GitLab-Last-Update"];
            seen.to_str().unwrap().clone_into(&mut last);
        }
    }

    /// Run a job with this trace and result.
    async fn run(&self, job: &Value, trace: &str, success: bool) {
        let token = job["token"].as_str().unwrap();
        let path = format!("jobs/{}", job["id"]);
        let append = self.call(Method::PATCH, &format!("{path}/trace"));
        let append = append
            .header("JOB-TOKEN", token)
            .header("Content-Range", format!("0-{}", trace.len() - 1))
            .body(trace.to_owned());
        assert_eq!(append.send().await.unwrap().status(), 202);
        let result = if success {
            json!({ "token": token, "state": "success" })
        } else {
            let reason = "script_failure";
            json!({ "token": token, "state": "failed", "failure_reason": reason, "exit_code": 3 })
        };
        let update = self.call(Method::PUT, &path).json(&result);
        assert_eq!(update.send().await.unwrap().status(), 200);
    }
}

fn push(scene: &Scene, dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onspot-world"));
    command
        .arg("push")
        .arg(dir)
        .args([
            "--url",
            scene.gitlab.url().as_str(),
            "--token",
            &scene.gitlab.token(),
        ])
        .args(more)
        .kill_on_drop(true);
    command
}

fn folder(yaml: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".gitlab-ci.yml"), yaml).unwrap();
    dir
}

/// Push, and run this many jobs meanwhile.
async fn push_and_run(scene: &Scene, dir: &Path, more: &[&str], jobs: &[(&str, bool)]) -> Output {
    let runner = async {
        for (trace, success) in jobs {
            let job = scene.job().await;
            scene.run(&job, trace, *success).await;
        }
    };
    let (output, ()) = tokio::join!(push(scene, dir, more).output(), runner);
    output.unwrap()
}

const TWO_STAGES: &str = "a: {stage: build, script: x}\nb: {stage: test, script: x}";

#[tokio::test]
async fn traces_are_shown_as_they_grow() {
    let scene = Scene::new().await;
    let dir = folder(TWO_STAGES);
    let first = "section_start:1:step_script\r\x1b[0K\x1b[32;1m$ x\x1b[0;m\nboo\n";
    let jobs = [(first, true), ("no end of line", true)];
    let output = push_and_run(&scene, dir.path(), &["--project", "ghost"], &jobs).await;
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["── a · stage build ──", "$ x", "boo"]);
    assert!(lines[3].starts_with("── a · success after "), "{text}");
    assert!(text.contains("\nno end of line\n"), "{text}");
    assert!(lines.last().unwrap().ends_with(" success"), "{text}");
}

#[tokio::test]
async fn a_failure_is_reported_by_json_and_exit_code() {
    let scene = Scene::new().await;
    let dir = folder(TWO_STAGES);
    let output = push_and_run(
        &scene,
        dir.path(),
        &["--output", "json"],
        &[("boo\n", false)],
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["name"], "a");
    assert_eq!(lines[0]["stage"], "build");
    assert_eq!(lines[0]["status"], "failed");
    assert_eq!(lines[0]["failure_reason"], "script_failure");
    assert_eq!(lines[0]["exit_code"], 3);
    assert_eq!(lines[0]["worker"], "127.0.0.1");
    assert_eq!(lines[0]["trace"], "boo\n");
    assert!(lines[0]["duration_s"].as_f64().unwrap() >= 0.0);
    assert_eq!(lines[1]["status"], "skipped");
}

#[tokio::test]
async fn wrong_usage_is_reported() {
    let scene = Scene::new().await;
    let empty = tempfile::tempdir().unwrap();
    let output = push(&scene, empty.path(), &[]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("has no .gitlab-ci.yml"), "{error}");

    let dir = folder(TWO_STAGES);
    let nowhere = Command::new(env!("CARGO_BIN_EXE_onspot-world"))
        .arg("push")
        .arg(dir.path())
        .current_dir(empty.path())
        .output()
        .await
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    let error = String::from_utf8(nowhere.stderr).unwrap();
    assert!(error.contains("just up"), "{error}");
}

#[tokio::test]
async fn a_bad_configuration_fails_with_its_reason() {
    let scene = Scene::new().await;
    let dir = folder("job: {scripts: x}");
    let output = push(&scene, dir.path(), &[]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("unknown keys: scripts"), "{text}");
}
