//! Every request of the protocol, as sent over the wire.

use std::fmt::Write as _;

use http::Request;
use onspot_gitlab::request::Api;
use onspot_gitlab::{
    ArtifactUpload, Error, FailureReason, Features, Info, JobId, JobToken, JobUpdate, NewRunner,
    RunnerIdentity, RunnerScope, RunnerToken, Secret, SystemId, TraceSummary,
};

fn api() -> Api {
    Api::new(&"https://gitlab.example/".parse().unwrap()).unwrap()
}

fn runner() -> RunnerIdentity {
    let info = Info {
        version: "1.2.3".into(),
        platform: "linux".into(),
        architecture: "amd64".into(),
        ..Info::new(
            "docker",
            Features {
                variables: true,
                ..Features::default()
            },
        )
    };
    RunnerIdentity::new(
        RunnerToken::new("glrt-abc"),
        SystemId::parse("s_0123456789ab").unwrap(),
        info,
    )
}

fn token() -> JobToken {
    JobToken::new("glcbt-64_job")
}

/// A request as text: the line, the headers, the body.
fn shown(request: Result<Request<Vec<u8>>, Error>) -> String {
    let request = request.unwrap();
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    match serde_json::from_slice::<serde_json::Value>(request.body()) {
        Ok(json) => write!(text, "\n{json:#}").unwrap(),
        Err(_) => write!(text, "\n{}", String::from_utf8_lossy(request.body())).unwrap(),
    }
    text
}

#[test]
fn verify() {
    insta::assert_snapshot!(shown(api().verify(&runner())));
}

#[test]
fn request_job() {
    insta::assert_snapshot!(shown(api().request_job(&runner(), Some("2d1c8f"))));
}

#[test]
fn unregister() {
    insta::assert_snapshot!(shown(api().unregister(&RunnerToken::new("glrt-abc"))));
}

#[test]
fn create_runner() {
    let mut runner = NewRunner {
        scope: RunnerScope::Project(42),
        description: "onspot".into(),
        tags: vec!["docker.m3".into()],
        run_untagged: false,
        maximum_timeout: Some(3600),
    };
    let access = Secret::new("glpat-1");
    insta::assert_snapshot!(shown(api().create_runner(&access, &runner)));
    runner.scope = RunnerScope::Instance;
    runner.maximum_timeout = None;
    let request = api().create_runner(&access, &runner).unwrap();
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["runner_type"], "instance_type");
    assert!(body.get("project_id").is_none() && body.get("maximum_timeout").is_none());
}

#[test]
fn running() {
    let request = api().update_job(JobId(7), &token(), &JobUpdate::running());
    insta::assert_snapshot!(shown(request));
}

#[test]
fn failed_with_trace() {
    let update =
        JobUpdate::failed(FailureReason::ScriptFailure, Some(3)).with_trace(TraceSummary {
            crc32: Some(0xbeef),
            bytes: 1234,
        });
    insta::assert_snapshot!(shown(api().update_job(JobId(7), &token(), &update)));
}

#[test]
fn succeeded_with_a_trace_partly_written_by_others() {
    let update = JobUpdate::success().with_trace(TraceSummary {
        crc32: None,
        bytes: 1234,
    });
    insta::assert_snapshot!(shown(api().update_job(JobId(7), &token(), &update)));
}

#[test]
fn patch_trace() {
    insta::assert_snapshot!(shown(api().patch_trace(
        JobId(7),
        &token(),
        100,
        b"hello",
        false
    )));
}

#[test]
fn ask_for_the_length_of_a_trace() {
    let request = api().patch_trace(JobId(7), &token(), 0, b"", true).unwrap();
    assert_eq!(request.headers()["content-range"], "0-0");
    assert!(request.body().is_empty());
}

#[test]
fn artifacts() {
    let upload = ArtifactUpload {
        name: "artifacts.zip".into(),
        format: "zip".into(),
        kind: "archive".into(),
        expire_in: "1 week".into(),
    };
    insta::assert_snapshot!(shown(api().upload_artifact(JobId(7), &token(), &upload)));
    insta::assert_snapshot!(shown(api().download_artifact(JobId(7), &token(), true)));
}

#[test]
fn the_base_may_have_a_path() {
    for (base, expected) in [
        (
            "https://gitlab.example",
            "https://gitlab.example/api/v4/runners",
        ),
        (
            "https://gitlab.example/ci",
            "https://gitlab.example/api/v4/runners",
        ),
        (
            "http://host:8080/gitlab/",
            "http://host:8080/gitlab/api/v4/runners",
        ),
        ("https://host/?a=b#c", "https://host/api/v4/runners"),
    ] {
        let api = Api::new(&base.parse().unwrap()).unwrap();
        let request = api.unregister(&RunnerToken::new("t")).unwrap();
        assert_eq!(request.uri().to_string(), expected);
    }
    for base in ["ftp://gitlab.example", "data:text/plain,hello"] {
        assert!(matches!(
            Api::new(&base.parse().unwrap()),
            Err(Error::BaseUrl { .. })
        ));
    }
}
