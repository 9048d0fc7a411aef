//! The transport: which requests are retried, and who receives tokens.

use std::time::Duration;

use crate::support::GitLab;
use onspot_gitlab::{
    ArtifactUpload, Client, ClientOptions, Error, FailureReason, Info, JobId, JobRequestOutcome,
    JobToken, JobUpdate, NewRunner, ReportOptions, Reported, RunnerIdentity, RunnerScope,
    RunnerToken, Secret, SystemId, TokenKind, TraceSummary, VERSION, report_result_with,
};
use wiremock::matchers::{header, header_regex, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn client(server: &MockServer) -> Client {
    Client::new(&server.uri().parse().unwrap()).unwrap()
}

fn runner() -> RunnerIdentity {
    RunnerIdentity::new(
        RunnerToken::new("glrt-abc"),
        SystemId::random(),
        Info::docker(),
    )
}

fn token() -> JobToken {
    JobToken::new("job-token")
}

#[tokio::test]
async fn verifying_survives_a_gitlab_that_restarts() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/api/v4/runners/verify"))
        .respond_with(ResponseTemplate::new(502))
        .up_to_n_times(2)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/api/v4/runners/verify"))
        .and(header("user-agent", format!("onspot {VERSION}")))
        .and(header("runner-token", "glrt-abc"))
        .and(header_regex("x-request-id", "^[0-9a-f]{32}$"))
        .respond_with(ResponseTemplate::new(200).set_body_string(r#"{"id":3}"#))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(client(&server).verify(&runner()).await.unwrap().id, Some(3));
}

#[tokio::test]
async fn a_refused_token_is_not_tried_again() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(403))
        .expect(1)
        .mount(&server)
        .await;
    let error = client(&server).verify(&runner()).await.unwrap_err();
    assert!(matches!(
        error,
        Error::Refused {
            token: TokenKind::Runner,
            ..
        }
    ));
}

#[tokio::test]
async fn nobody_answers() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::new(&url.parse().unwrap())
        .unwrap()
        .request_job(&runner(), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient());
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_job_is_requested_with_gitlabs_last_update() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/api/v4/jobs/request"))
        .respond_with(ResponseTemplate::new(204).insert_header("X-GitLab-Last-Update", "abc"))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/api/v4/jobs/request"))
        .and(wiremock::matchers::body_string_contains(
            r#""last_update":"abc""#,
        ))
        .respond_with(
            ResponseTemplate::new(201)
                .set_body_string(include_str!("payloads/job.json"))
                .insert_header("Content-Type", "application/json"),
        )
        .mount(&server)
        .await;
    let client = client(&server);
    let poll = client.request_job(&runner(), None).await.unwrap();
    assert_eq!(poll.outcome, JobRequestOutcome::NoJob);
    let poll = client
        .request_job(&runner(), poll.last_update.as_deref())
        .await
        .unwrap();
    let JobRequestOutcome::Job(assigned) = poll.outcome else {
        panic!("{poll:?}")
    };
    assert_eq!(assigned.job.id, JobId(4711));
    assert_eq!(assigned.raw["something_new"]["of"], "tomorrow");
}

#[tokio::test]
async fn creating_a_runner_is_tried_once() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/api/v4/user/runners"))
        .and(header("private-token", "glpat-1"))
        .respond_with(ResponseTemplate::new(500))
        .expect(1)
        .mount(&server)
        .await;
    let runner = NewRunner {
        scope: RunnerScope::Group(1),
        description: String::new(),
        tags: Vec::new(),
        run_untagged: true,
        maximum_timeout: None,
    };
    let error = client(&server)
        .create_runner(&Secret::new("glpat-1"), &runner)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Status { .. }));
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_a_token() {
    let elsewhere = MockServer::start().await;
    Mock::given(wiremock::matchers::any())
        .respond_with(ResponseTemplate::new(200))
        .expect(0)
        .mount(&elsewhere)
        .await;
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(302).insert_header("Location", elsewhere.uri()))
        .mount(&server)
        .await;
    let error = client(&server).verify(&runner()).await.unwrap_err();
    assert!(error.hint().unwrap().contains("leads elsewhere"), "{error}");
}

fn quick() -> ReportOptions {
    ReportOptions {
        attempts: 3,
        first_wait: Duration::from_millis(2),
        poll: Duration::from_millis(2),
        patience: Duration::from_secs(5),
    }
}

async fn report(gitlab: &GitLab) -> Result<Reported, Error> {
    let update =
        JobUpdate::failed(FailureReason::ScriptFailure, Some(2)).with_trace(TraceSummary {
            crc32: Some(1),
            bytes: 2,
        });
    report_result_with(&gitlab.client(), JobId(7), &token(), &update, &quick()).await
}

#[tokio::test]
async fn a_result_is_reported_despite_failures_and_delays() {
    for (statuses, expected) in [
        (vec![], Reported::Told),
        (vec![500, 503], Reported::Told),
        (vec![202, 202, 202, 202], Reported::Told),
        (vec![202, 403], Reported::AlreadyOver),
        (vec![404], Reported::AlreadyOver),
        (vec![412], Reported::TraceIncomplete),
    ] {
        let gitlab = GitLab::start().await;
        gitlab.change(|job| job.update_statuses.clone_from(&statuses));
        assert_eq!(report(&gitlab).await.unwrap(), expected, "{statuses:?}");
        let job = gitlab.job.lock();
        let told = job.updates.last().unwrap();
        assert_eq!(told["output"]["checksum"], "crc32:00000001");
        assert_eq!(told["exit_code"], 2);
    }
}

#[tokio::test]
async fn a_result_is_given_up_after_the_last_try() {
    let gitlab = GitLab::start().await;
    gitlab.change(|job| job.update_statuses = vec![500; 10]);
    assert!(report(&gitlab).await.unwrap_err().is_transient());
    assert_eq!(gitlab.job.lock().updates.len(), 3);
}

#[tokio::test]
async fn a_request_that_gitlab_rejects_is_not_repeated() {
    let gitlab = GitLab::start().await;
    gitlab.change(|job| job.update_statuses = vec![400]);
    assert!(report(&gitlab).await.is_err());
    assert_eq!(gitlab.job.lock().updates.len(), 1);
}

#[tokio::test]
async fn artifacts_are_uploaded_as_a_form_and_retried() {
    let server = MockServer::start().await;
    let upload = || Mock::given(method("POST")).and(path("/api/v4/jobs/7/artifacts"));
    upload()
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    upload()
        .and(header("job-token", "job-token"))
        .and(query_param("artifact_format", "zip"))
        .and(query_param("expire_in", "1 week"))
        .and(wiremock::matchers::body_string_contains(
            r#"name="file"; filename="artifacts.zip""#,
        ))
        .and(wiremock::matchers::body_string_contains("the archive"))
        .respond_with(ResponseTemplate::new(201))
        .expect(1)
        .mount(&server)
        .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.zip");
    std::fs::write(&file, "the archive").unwrap();
    let upload = ArtifactUpload {
        name: "artifacts.zip".into(),
        format: "zip".into(),
        kind: "archive".into(),
        expire_in: "1 week".into(),
    };
    client(&server)
        .upload_artifact(JobId(7), &token(), &upload, &file)
        .await
        .unwrap();

    let missing = folder.path().join("missing");
    let error = client(&server)
        .upload_artifact(JobId(7), &token(), &upload, &missing)
        .await;
    assert!(matches!(error, Err(Error::File { .. })));
}

#[tokio::test]
async fn an_upload_without_an_answer_is_given_up() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(201).set_delay(Duration::from_mins(5)))
        .mount(&server)
        .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.zip");
    std::fs::write(&file, "the archive").unwrap();
    let upload = ArtifactUpload {
        name: "artifacts.zip".into(),
        format: "zip".into(),
        kind: "archive".into(),
        expire_in: String::new(),
    };
    let options = ClientOptions {
        stall_timeout: Duration::from_millis(300),
        attempts: 1,
        ..ClientOptions::default()
    };
    let client = Client::with_options(&server.uri().parse().unwrap(), options).unwrap();
    let error = client
        .upload_artifact(JobId(7), &token(), &upload, &file)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("stands still"), "{error}");
}

#[tokio::test]
async fn artifacts_come_from_the_storage_without_the_token() {
    let storage = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/bucket/artifacts.zip"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(vec![7; 100_000]))
        .mount(&storage)
        .await;
    let server = MockServer::start().await;
    let location = format!("{}/bucket/artifacts.zip?X-Amz-Signature=1", storage.uri());
    Mock::given(method("GET"))
        .and(path("/api/v4/jobs/7/artifacts"))
        .and(query_param("direct_download", "true"))
        .and(header("job-token", "job-token"))
        .respond_with(ResponseTemplate::new(302).insert_header("Location", location))
        .mount(&server)
        .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("artifacts.zip");
    let archive = client(&server)
        .download_artifact(JobId(7), &token(), true)
        .await
        .unwrap();
    assert_eq!(archive.size(), Some(100_000));
    assert_eq!(archive.save(&file).await.unwrap(), 100_000);
    assert_eq!(std::fs::read(&file).unwrap(), vec![7; 100_000]);
    for request in storage.received_requests().await.unwrap() {
        assert!(!request.headers.contains_key("job-token"));
    }
}

/// A server that redirects to the storage where allowed, and answers other requests itself.
async fn with_storage(storage: ResponseTemplate, own: ResponseTemplate) -> [MockServer; 2] {
    let servers = [MockServer::start().await, MockServer::start().await];
    Mock::given(method("GET"))
        .respond_with(storage)
        .expect(1)
        .mount(&servers[1])
        .await;
    let location = format!("{}/bucket/artifacts.zip", servers[1].uri());
    Mock::given(query_param("direct_download", "true"))
        .respond_with(ResponseTemplate::new(302).insert_header("Location", location))
        .with_priority(1)
        .mount(&servers[0])
        .await;
    Mock::given(method("GET"))
        .respond_with(own)
        .mount(&servers[0])
        .await;
    servers
}

#[tokio::test]
async fn missing_artifacts_are_an_error_in_gitlab_and_in_the_storage() {
    let gone = || ResponseTemplate::new(404);
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(gone())
        .expect(1)
        .mount(&server)
        .await;
    let [gitlab, _storage] = with_storage(gone(), ResponseTemplate::new(200)).await;
    for server in [server, gitlab] {
        let error = client(&server)
            .download_artifact(JobId(7), &token(), true)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "127.0.0.1 has no artifacts of job 7");
        assert!(!error.is_transient() && error.hint().is_some());
    }
}

#[tokio::test]
async fn only_the_first_try_is_redirected_to_the_storage() {
    let own = ResponseTemplate::new(200).set_body_bytes(vec![7; 10]);
    let [gitlab, _storage] = with_storage(ResponseTemplate::new(503), own).await;
    let archive = client(&gitlab)
        .download_artifact(JobId(7), &token(), true)
        .await
        .unwrap();
    assert_eq!(archive.size(), Some(10));
    let requests = gitlab.received_requests().await.unwrap();
    let queries: Vec<_> = requests.iter().map(|r| r.url.query()).collect();
    assert_eq!(queries, [Some("direct_download=true"), None]);
}

#[tokio::test]
async fn artifacts_of_another_project_are_refused() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(403).set_body_string(r#"{"message":"403 Forbidden"}"#))
        .expect(1)
        .mount(&server)
        .await;
    let error = client(&server)
        .download_artifact(JobId(7), &token(), true)
        .await
        .unwrap_err();
    insta::assert_snapshot!(
        error,
        @"GitLab refused the job token when asked to give an artifact (job 7: 403 Forbidden)"
    );
}
