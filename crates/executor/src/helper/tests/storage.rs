//! Caches and artifacts from a server that does not have them, or refuses access.

use std::io::Write;
use std::os::unix::fs::MetadataExt;

use onspot_gitlab::{JobId, JobToken};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

const FORBIDDEN: &str = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";

/// A bench with an empty project folder.
pub(super) async fn empty() -> Bench {
    let bench = Bench::new();
    let sources = bench.sources(Strategy::Empty, "");
    bench.get(sources).await.unwrap();
    bench
}

pub(super) fn archive(content: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("cached", options).unwrap();
    zip.write_all(content.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

fn restore(server: &MockServer, keys: &[&str], attempts: u32) -> HelperRequest {
    let candidates = keys
        .iter()
        .map(|key| Candidate {
            key: (*key).to_owned(),
            from: Location::Url(format!("{}/{key}?X-Amz-Signature=secret", server.uri())),
            other: None,
        })
        .collect();
    HelperRequest::RestoreCache(RestoreCache {
        candidates,
        attempts,
        selection: Selection::default(),
        transfer_seconds: None,
    })
}

#[tokio::test]
async fn a_cache_without_access_is_a_miss() {
    let bench = empty().await;
    let server = MockServer::start().await;
    Mock::given(path("/own"))
        .respond_with(ResponseTemplate::new(403).set_body_string(FORBIDDEN))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/fallback"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(archive("x")))
        .mount(&server)
        .await;
    let none = HelperAnswer::Restored {
        key: None,
        fingerprint: None,
    };
    assert_eq!(
        bench.ask(restore(&server, &["own"], 3)).await.unwrap(),
        none
    );
    server.reset().await;
    Mock::given(path("/fallback"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(archive("x")))
        .mount(&server)
        .await;
    let found = bench
        .ask(restore(&server, &["own", "fallback"], 1))
        .await
        .unwrap();
    let key = Some("fallback".into());
    assert_eq!(
        found,
        HelperAnswer::Restored {
            key,
            fingerprint: None,
        }
    );
}

#[tokio::test]
async fn a_broken_cache_is_fetched_again_as_often_as_configured() {
    for (attempts, restored) in [(1, false), (2, true)] {
        let bench = empty().await;
        let server = MockServer::start().await;
        let whole = archive("whole");
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(200).set_body_bytes(&whole[..whole.len() / 2]))
            .up_to_n_times(1)
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(200).set_body_bytes(whole))
            .mount(&server)
            .await;
        bench.ask(restore(&server, &["k"], attempts)).await.unwrap();
        assert_eq!(bench.read("cached").is_some(), restored);
    }
}

fn download(server: &MockServer) -> HelperRequest {
    HelperRequest::DownloadArtifacts(DownloadArtifacts {
        gitlab: server.uri(),
        ca_pem: None,
        attempts: 1,
        direct: true,
        downloads: vec![Download {
            job: JobId(7),
            name: "build".into(),
            token: JobToken::new("token"),
        }],
    })
}

#[tokio::test]
async fn missing_artifacts_are_an_error() {
    let bench = empty().await;
    let server = MockServer::start().await;
    Mock::given(path("/api/v4/jobs/7/artifacts"))
        .respond_with(ResponseTemplate::new(404))
        .expect(1)
        .mount(&server)
        .await;
    let error = bench.ask(download(&server)).await.unwrap_err();
    assert_eq!(error.to_string(), "127.0.0.1 has no artifacts of job 7");
    assert!(error.hint().unwrap().contains("expired"));
}

#[tokio::test]
async fn broken_artifacts_are_not_requested_from_the_storage_again() {
    let bench = empty().await;
    let server = MockServer::start().await;
    let whole = archive("whole");
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(&whole[..whole.len() / 2]))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(whole))
        .mount(&server)
        .await;
    bench.ask(download(&server)).await.unwrap();
    assert_eq!(bench.read("cached").as_deref(), Some("whole"));
    let requests = server.received_requests().await.unwrap();
    let queries: Vec<_> = requests.iter().map(|r| r.url.query()).collect();
    assert_eq!(queries, [Some("direct_download=true"), None]);
}

#[tokio::test]
async fn nothing_of_a_failed_archive_is_left() {
    let bench = empty().await;
    std::fs::create_dir(bench.project().join("cached")).unwrap();
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(archive("x")))
        .mount(&server)
        .await;
    let none = HelperAnswer::Restored {
        key: None,
        fingerprint: None,
    };
    assert_eq!(bench.ask(restore(&server, &["k"], 1)).await.unwrap(), none);
    let temp = bench.dir.path().join("builds/group/project.tmp");
    let left = std::fs::read_dir(temp).unwrap().map(|e| e.unwrap());
    let names: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["git-login.config"]);
}

#[tokio::test]
async fn changing_owners_follows_no_links() {
    let bench = empty().await;
    let to = GiveAway {
        user: 1000,
        group: 1001,
    };
    let victim = bench.dir.path().join("victim");
    std::fs::write(&victim, "x").unwrap();
    std::fs::create_dir(bench.project().join("dir")).unwrap();
    std::os::unix::fs::symlink(&victim, bench.project().join("dir/link")).unwrap();
    let before = std::fs::metadata(&victim).unwrap().uid();
    let given = bench.ask(HelperRequest::GiveAway(to)).await;
    assert_eq!(std::fs::metadata(&victim).unwrap().uid(), before);
    if !rustix::process::geteuid().is_root() {
        assert!(given.is_err(), "only root can");
        return;
    }
    given.unwrap();
    for name in ["", "dir", "dir/link"] {
        let stat = std::fs::symlink_metadata(bench.project().join(name)).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (1000, 1001), "{name}");
    }
}
