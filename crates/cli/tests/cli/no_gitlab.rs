//! GitLab is unreachable, or refuses the token: `up` reports it before it creates anything.

use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::invocation::{Folder, assert_run};

/// The AWS calls that `up` makes before it asks GitLab.
async fn aws() -> MockServer {
    let server = MockServer::start().await;
    let identity = "<GetCallerIdentityResponse><GetCallerIdentityResult>
        <Arn>arn:aws:iam::123456789012:user/me</Arn><UserId>AIDA1</UserId>
        <Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
    Mock::given(method("POST"))
        .and(path("/"))
        .respond_with(ResponseTemplate::new(200).set_body_string(identity))
        .mount(&server)
        .await;
    server
}

/// A stack whose runner is registered at `gitlab`.
fn stack(aws: &MockServer, gitlab: &str) -> Folder {
    let toml = format!(
        "region = \"eu-west-1\"\n\n[aws]\nendpoint_url = \"{}\"\n\n[[runners]]\n\
         name = \"docker.m3\"\nurl = \"{gitlab}\"\ntoken = \"env:RUNNER_TOKEN\"\n",
        aws.uri()
    );
    Folder::new()
        .with("onspot.toml", &toml)
        .env("RUNNER_TOKEN", "glrt-hidden")
        .env("AWS_ACCESS_KEY_ID", "AKIATEST")
        .env("AWS_SECRET_ACCESS_KEY", "test")
}

/// Any program and any file will do, as nothing is uploaded.
const UP: &str = "up --yes --binary /usr/bin/true --helper onspot.toml";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token() {
    let (aws, gitlab) = (aws().await, MockServer::start().await);
    Mock::given(method("POST"))
        .and(path("/api/v4/runners/verify"))
        .respond_with(ResponseTemplate::new(403).set_body_string("{\"message\":\"403 Forbidden\"}"))
        .mount(&gitlab)
        .await;
    let shown = stack(&aws, &gitlab.uri()).run(UP);
    assert!(!shown.contains("hidden"), "{shown}");
    assert_run!("refused_token", shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_gitlabs_address() {
    let aws = aws().await;
    // A port that was free a moment ago.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let folder = stack(&aws, &format!("http://{}", silent.unwrap()));
    assert_run!("unreachable_gitlab", folder.run(UP));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_is_not_a_program() {
    let aws = aws().await;
    let folder = stack(&aws, "http://127.0.0.1:9");
    let line = "up --yes --binary onspot.toml --helper onspot.toml";
    assert_run!("no_program", folder.run(line));
}
