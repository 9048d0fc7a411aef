//! The shipper against a server that behaves like CloudWatch Logs.

use parking_lot::Mutex;

use aws_sdk_cloudwatchlogs::config::{BehaviorVersion, Credentials, Region};
use serde_json::{Value, json};
use wiremock::matchers::header;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;

const PUT: &str = "Logs_20140328.PutLogEvents";
const MAKE: &str = "Logs_20140328.CreateLogStream";

fn destination(server: &MockServer) -> Destination {
    let config = aws_sdk_cloudwatchlogs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIA", "secret", None, None, "test"))
        .endpoint_url(server.uri())
        .retry_config(aws_sdk_cloudwatchlogs::config::retry::RetryConfig::disabled())
        .build();
    let client = Client::from_conf(config);
    Destination {
        client,
        group: "ci".into(),
        stream: "worker/i-1".into(),
        first_wait: Duration::from_millis(5),
    }
}

/// Journal lines with these messages, a second apart.
fn lines(messages: &[&str]) -> Vec<u8> {
    let lines = messages.iter().enumerate().map(|(index, message)| {
        let microseconds = (1_700_000_000 + index) * 1_000_000;
        let entry = json!({
            "__CURSOR": format!("c{index}"),
            "__REALTIME_TIMESTAMP": microseconds.to_string(),
            "MESSAGE": message,
        });
        format!("{entry}\n")
    });
    lines.collect::<String>().into_bytes()
}

/// Answers in this order, repeating the last one.
struct Answers(Mutex<Vec<ResponseTemplate>>);

impl Respond for Answers {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let mut left = self.0.lock();
        if left.len() > 1 {
            left.remove(0)
        } else {
            left[0].clone()
        }
    }
}

fn refused(code: &str) -> ResponseTemplate {
    ResponseTemplate::new(400).set_body_json(json!({"__type": code, "message": "no"}))
}

fn taken() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({}))
}

async fn answering(puts: Vec<ResponseTemplate>) -> MockServer {
    let server = MockServer::start().await;
    let answers = Answers(Mutex::new(puts));
    Mock::given(header("x-amz-target", PUT))
        .respond_with(answers)
        .mount(&server)
        .await;
    Mock::given(header("x-amz-target", MAKE))
        .respond_with(taken())
        .mount(&server)
        .await;
    server
}

/// The bodies of the calls of one operation.
async fn bodies(server: &MockServer, operation: &str) -> Vec<Value> {
    let requests = server.received_requests().await.unwrap();
    let of_it = requests.iter().filter(|request| {
        request
            .headers
            .get("x-amz-target")
            .is_some_and(|target| target == operation)
    });
    of_it.map(|request| request.body_json().unwrap()).collect()
}

#[tokio::test]
async fn lines_arrive_and_the_cursor_is_stored() {
    let server = answering(vec![taken()]).await;
    let dir = tempfile::tempdir().unwrap();
    let cursor = CursorFile::new(dir.path().join("cursor"));
    let text = lines(&["one", "", "two"]);
    ship(
        Journal::of(&text[..]),
        &destination(&server),
        &cursor,
        CancellationToken::new(),
    )
    .await;
    let put = bodies(&server, PUT).await;
    assert_eq!(put.len(), 1);
    assert_eq!(put[0]["logStreamName"], "worker/i-1");
    assert_eq!(
        put[0]["logEvents"],
        json!([
            {"timestamp": 1_700_000_000_000_u64, "message": "one"},
            {"timestamp": 1_700_000_002_000_u64, "message": "two"},
        ])
    );
    assert_eq!(cursor.read().as_deref(), Some("c2"));
}

#[tokio::test]
async fn a_missing_stream_is_created_and_failures_are_retried() {
    let server = answering(vec![
        refused("ResourceNotFoundException"),
        refused("ThrottlingException"),
        ResponseTemplate::new(503),
        taken(),
    ])
    .await;
    let dir = tempfile::tempdir().unwrap();
    let cursor = CursorFile::new(dir.path().join("cursor"));
    let text = lines(&["one"]);
    ship(
        Journal::of(&text[..]),
        &destination(&server),
        &cursor,
        CancellationToken::new(),
    )
    .await;
    assert_eq!(bodies(&server, MAKE).await.len(), 1);
    assert_eq!(bodies(&server, PUT).await.len(), 4);
    assert_eq!(cursor.read().as_deref(), Some("c0"));
}

#[tokio::test]
async fn a_batch_that_is_refused_for_good_is_skipped() {
    let server = answering(vec![refused("InvalidParameterException")]).await;
    let dir = tempfile::tempdir().unwrap();
    let cursor = CursorFile::new(dir.path().join("cursor"));
    let text = lines(&["one"]);
    ship(
        Journal::of(&text[..]),
        &destination(&server),
        &cursor,
        CancellationToken::new(),
    )
    .await;
    assert_eq!(bodies(&server, PUT).await.len(), 1);
    assert_eq!(cursor.read().as_deref(), Some("c0"));
}

#[tokio::test]
async fn the_last_lines_are_shipped_when_the_process_ends() {
    let server = answering(vec![taken()]).await;
    let dir = tempfile::tempdir().unwrap();
    let cursor = CursorFile::new(dir.path().join("cursor"));
    let end = CancellationToken::new();
    end.cancel();
    let text = lines(&["stopped"]);
    ship(Journal::of(&text[..]), &destination(&server), &cursor, end).await;
    assert_eq!(bodies(&server, PUT).await.len(), 1);
}
