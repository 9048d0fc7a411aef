//! Transfers against a server that behaves like S3, and one that does not.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use wiremock::matchers::{body_bytes, header, header_exists, method, path};
use wiremock::{Match, Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;

fn transfer() -> Transfer {
    Transfer::new(TransferOptions {
        part_size: 10,
        parallel: 3,
        tries: 3,
        backoff: Duration::from_millis(1),
        idle_timeout: Duration::from_secs(5),
        ..TransferOptions::default()
    })
    .unwrap()
}

fn url(server: &MockServer) -> Url {
    Url::parse(&format!("{}/cache?X-Amz-Signature=secret", server.uri())).unwrap()
}

/// Serves ranges of a content; the first `failures` requests get a 500.
struct Ranges {
    content: Vec<u8>,
    failures: AtomicUsize,
}

impl Ranges {
    fn new(content: &[u8], failures: usize) -> Self {
        Self {
            content: content.to_vec(),
            failures: AtomicUsize::new(failures),
        }
    }
}

impl Respond for Ranges {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let left = |n: usize| n.checked_sub(1);
        if self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
            .is_ok()
        {
            return ResponseTemplate::new(500);
        }
        let range = request.headers[RANGE].to_str().unwrap();
        let (start, end) = range
            .strip_prefix("bytes=")
            .unwrap()
            .split_once('-')
            .unwrap();
        let start: usize = start.parse().unwrap();
        let end = end.parse::<usize>().unwrap().min(self.content.len() - 1);
        ResponseTemplate::new(206)
            .insert_header("etag", "\"v1\"")
            .insert_header(
                "content-range",
                format!("bytes {start}-{end}/{}", self.content.len()),
            )
            .set_body_bytes(&self.content[start..=end])
    }
}

async fn download(server: &MockServer) -> (Result<Option<u64>, Error>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("archive");
    let result = transfer().download(&url(server), &file).await;
    (result, fs::read(file).unwrap())
}

#[tokio::test]
async fn a_large_object_arrives_in_parts_of_one_version() {
    let content: Vec<u8> = (0..95).collect();
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/cache"))
        .respond_with(Ranges::new(&content, 2))
        .mount(&server)
        .await;
    let (result, got) = download(&server).await;
    assert_eq!(result.unwrap(), Some(95));
    assert_eq!(got, content);
    let requests = server.received_requests().await.unwrap();
    let parts = requests
        .iter()
        .filter(|r| r.headers.contains_key(IF_MATCH))
        .count();
    assert!(
        parts >= 9,
        "{parts} parts asked for the first one's version"
    );
}

#[tokio::test]
async fn a_server_without_ranges_will_do() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(vec![7; 33]))
        .mount(&server)
        .await;
    let (result, got) = download(&server).await;
    assert_eq!(result.unwrap(), Some(33));
    assert_eq!(got, vec![7; 33]);
}

#[tokio::test]
async fn no_such_object_is_not_an_error_and_not_tried_again() {
    let server = MockServer::start().await;
    let body = "<Error><Code>NoSuchKey</Code></Error>";
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(404).set_body_string(body))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(download(&server).await.0.unwrap(), None);
}

#[tokio::test]
async fn a_refusal_has_a_reason_but_no_url() {
    let server = MockServer::start().await;
    let body = "<Error><Code>AccessDenied</Code></Error>";
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(403).set_body_string(body))
        .expect(1)
        .mount(&server)
        .await;
    let error = download(&server).await.0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "download refused: HTTP 403 (AccessDenied)"
    );
}

#[tokio::test]
async fn failures_end_after_all_tries_and_do_not_show_the_url() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = format!(
        "http://{}/?X-Amz-Signature=secret",
        listener.local_addr().unwrap()
    );
    let refused = Url::parse(&refused).unwrap();
    drop(listener);
    let dir = tempfile::tempdir().unwrap();
    let error = transfer()
        .download(&refused, &dir.path().join("f"))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("download failed after 3 tries: "),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
}

/// Matches requests with a declared length: S3 takes no chunked uploads by presigned URLs.
struct Sized;

impl Match for Sized {
    fn matches(&self, request: &Request) -> bool {
        !request.headers.contains_key("transfer-encoding")
    }
}

#[tokio::test]
async fn an_upload_has_a_length_and_is_tried_again() {
    let server = MockServer::start().await;
    Mock::given(method("PUT"))
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(header("content-length", "5"))
        .and(header_exists("host"))
        .and(body_bytes(b"ghost"))
        .and(Sized)
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&server)
        .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("archive");
    fs::write(&file, "ghost").unwrap();
    assert_eq!(
        transfer().upload(&url(&server), &[], &file).await.unwrap(),
        5
    );
}

#[tokio::test]
async fn a_stalled_upload_is_given_up() {
    // No connection is accepted: the system buffers the first bytes, then nothing more is taken.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/cache", listener.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("archive");
    fs::write(&file, vec![7; 32 << 20]).unwrap();
    let impatient = Transfer::new(TransferOptions {
        tries: 1,
        idle_timeout: Duration::from_millis(200),
        ..TransferOptions::default()
    });
    let error = impatient
        .unwrap()
        .upload(&Url::parse(&url).unwrap(), &[], &file)
        .await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "upload failed after 1 tries: the upload stands still"
    );
}

#[tokio::test]
async fn parts_are_sent_each_to_its_url() {
    let server = MockServer::start().await;
    for (number, content) in [(1, "0123"), (2, "4567"), (3, "89")] {
        Mock::given(method("PUT"))
            .and(wiremock::matchers::query_param(
                "partNumber",
                number.to_string(),
            ))
            .and(wiremock::matchers::body_string(content))
            .respond_with(ResponseTemplate::new(200).insert_header("etag", format!("\"{number}\"")))
            .expect(1)
            .mount(&server)
            .await;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("archive");
    std::fs::write(&file, "0123456789").unwrap();
    let urls: Vec<Url> = (1..=3)
        .map(|number| {
            format!("{}/k?partNumber={number}", server.uri())
                .parse()
                .unwrap()
        })
        .collect();
    let etags = transfer().upload_parts(&urls, 4, &file).await.unwrap();
    assert_eq!(etags, ["\"1\"", "\"2\"", "\"3\""]);
}
