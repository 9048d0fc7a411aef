//! A server with a project, and a runner made of plain HTTP calls.

use std::time::Duration;

use onspot_mock_gitlab::{Builder, JobId, MockGitlab, PipelineId, Project};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// An upper bound for every wait in these tests.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// A server, one of its runners, and a project.
pub(crate) struct Scene {
    pub(crate) gitlab: MockGitlab,
    pub(crate) runner: Runner,
    pub(crate) project: Project,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// With other options than the defaults.
    pub(crate) async fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let gitlab = change(MockGitlab::builder()).start().await.unwrap();
        let project = gitlab.create_project("app").await.unwrap();
        let runner = Runner::create(&gitlab, &["docker.m3"]).await;
        Self {
            gitlab,
            runner,
            project,
        }
    }

    /// Push a configuration and return the pipeline made from it.
    pub(crate) async fn push(&self, yaml: &str) -> PipelineId {
        let files = [(".gitlab-ci.yml", yaml), ("README.md", "hello\n")];
        let sha = self.gitlab.push_files(&self.project, &files).await.unwrap();
        self.gitlab.wait_for_commit(&sha, BOUND).await.unwrap().id
    }

    /// A request of a person.
    pub(crate) fn rest(&self, method: Method, path: &str) -> RequestBuilder {
        self.runner
            .request(method, path)
            .header("PRIVATE-TOKEN", self.gitlab.token())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.rest(Method::GET, path)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }
}

/// A runner's side of the protocol.
#[derive(Clone)]
pub(crate) struct Runner {
    client: reqwest::Client,
    base: String,
    pub(crate) token: String,
}

/// A job as the runner got it.
pub(crate) struct Taken {
    pub(crate) payload: Value,
    pub(crate) id: JobId,
    pub(crate) token: String,
}

impl Taken {
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.payload
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap()
    }

    pub(crate) fn variable(&self, key: &str) -> &Value {
        let all = self.payload["variables"].as_array().unwrap();
        all.iter().find(|variable| variable["key"] == key).unwrap()
    }
}

impl From<Value> for Taken {
    fn from(payload: Value) -> Self {
        Self {
            id: JobId(payload["id"].as_u64().unwrap()),
            token: payload["token"].as_str().unwrap().to_owned(),
            payload,
        }
    }
}

impl Runner {
    /// A runner created by a person over the API.
    pub(crate) async fn create(gitlab: &MockGitlab, tags: &[&str]) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .user_agent("test-runner 1.0");
        let mut runner = Self {
            client: client.build().unwrap(),
            base: format!("http://{}/api/v4", gitlab.address()),
            token: String::new(),
        };
        let body = json!({
            "runner_type": "instance_type", "tag_list": tags.join(","), "run_untagged": true,
        });
        let made = runner
            .request(Method::POST, "/user/runners")
            .header("PRIVATE-TOKEN", gitlab.token())
            .json(&body);
        let made = made.send().await.unwrap();
        assert_eq!(made.status(), 201);
        let made: Value = made.json().await.unwrap();
        made["token"]
            .as_str()
            .unwrap()
            .clone_into(&mut runner.token);
        runner
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn poll(&self, last_update: Option<&str>) -> Response {
        let body = json!({
            "token": self.token,
            "system_id": "s_0123456789ab",
            "last_update": last_update,
            "info": {
                "name": "gitlab-runner", "executor": "docker",
                "features": { "cancel_gracefully": true },
            },
        });
        self.request(Method::POST, "/jobs/request")
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    /// Request a job, which must be available.
    pub(crate) async fn take(&self) -> Taken {
        let answer = self.poll(None).await;
        assert_eq!(answer.status(), 201, "no job");
        answer.json::<Value>().await.unwrap().into()
    }

    pub(crate) async fn update(&self, job: &Taken, mut body: Value) -> Response {
        body["token"] = job.token.clone().into();
        self.request(Method::PUT, &format!("/jobs/{}", job.id))
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn patch(&self, job: &Taken, start: usize, text: &str) -> Response {
        let end = (start + text.len()).saturating_sub(1);
        self.request(Method::PATCH, &format!("/jobs/{}/trace", job.id))
            .header("JOB-TOKEN", &job.token)
            .header("Content-Range", format!("{start}-{end}"))
            .body(text.to_owned())
            .send()
            .await
            .unwrap()
    }

    /// Run a job with this trace and result.
    pub(crate) async fn run(&self, job: &Taken, trace: &str, success: bool) {
        assert_eq!(
            self.update(job, json!({ "state": "running" }))
                .await
                .status(),
            200
        );
        assert_eq!(self.patch(job, 0, trace).await.status(), 202);
        let mut result = json!({
            "state": if success { "success" } else { "failed" },
            "checksum": format!("crc32:{:08x}", crc32fast::hash(trace.as_bytes())),
            "output": {
                "checksum": format!("crc32:{:08x}", crc32fast::hash(trace.as_bytes())),
                "bytesize": trace.len(),
            },
        });
        if !success {
            result["failure_reason"] = "script_failure".into();
            result["exit_code"] = 3.into();
        }
        assert_eq!(self.update(job, result).await.status(), 200);
    }
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}
