//! When a cache is stored again, and which of two is restored.

use onspot_cache::archive::{Format, Level};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::storage::{archive, empty};
use super::*;

fn selection(path: &str) -> Selection {
    Selection {
        paths: vec![path.into()],
        ..Selection::default()
    }
}

fn restore(own: &str, other: Option<&str>, selection: Selection) -> HelperRequest {
    HelperRequest::RestoreCache(RestoreCache {
        candidates: vec![Candidate {
            key: "main".into(),
            from: Location::Url(own.into()),
            other: other.map(|url| Location::Url(url.into())),
        }],
        attempts: 1,
        selection,
        transfer_seconds: None,
    })
}

fn save(to: &str, stored: Option<String>) -> HelperRequest {
    HelperRequest::SaveCache(SaveCache {
        key: "main".into(),
        selection: selection("cached"),
        format: Format::ZipZstd,
        level: Level::Default,
        to: Location::Url(to.into()),
        most_bytes: None,
        one_put: None,
        headers: vec![("x-amz-server-side-encryption".into(), "AES256".into())],
        stored,
        transfer_seconds: Some(60),
    })
}

fn fingerprint(answer: HelperAnswer) -> Option<String> {
    match answer {
        HelperAnswer::Restored { fingerprint, .. } => fingerprint,
        answer => panic!("{answer:?}"),
    }
}

async fn serve(server: &MockServer, at: &str, content: &str, modified: &str) {
    let answer = ResponseTemplate::new(200)
        .set_body_bytes(archive(content))
        .insert_header("last-modified", modified);
    Mock::given(method("GET"))
        .and(path(at))
        .respond_with(answer)
        .mount(server)
        .await;
}

const MONDAY: &str = "Mon, 16 Nov 2026 10:00:00 GMT";
const TUESDAY: &str = "Tue, 17 Nov 2026 10:00:00 GMT";

#[tokio::test]
async fn an_archive_that_is_up_to_date_is_not_stored_again() {
    let bench = empty().await;
    let server = MockServer::start().await;
    serve(&server, "/k", "old", MONDAY).await;
    Mock::given(method("PUT"))
        .and(path("/k"))
        .and(header("x-amz-server-side-encryption", "AES256"))
        .respond_with(ResponseTemplate::new(200))
        .expect(2)
        .mount(&server)
        .await;
    let url = format!("{}/k?X-Amz-Signature=secret", server.uri());
    let restored = bench.ask(restore(&url, None, selection("cached"))).await;
    let stored = fingerprint(restored.unwrap());
    assert!(stored.is_some());
    let unchanged = bench.ask(save(&url, stored.clone())).await.unwrap();
    assert_eq!(unchanged, HelperAnswer::Nothing);

    std::fs::write(bench.project().join("cached"), "new").unwrap();
    let changed = bench.ask(save(&url, stored)).await.unwrap();
    assert!(matches!(changed, HelperAnswer::Stored { .. }));
    let unknown = bench.ask(save(&url, None)).await.unwrap();
    assert!(matches!(unknown, HelperAnswer::Stored { .. }));
}

#[tokio::test]
async fn an_archive_of_other_files_is_not_up_to_date() {
    let bench = empty().await;
    std::fs::write(bench.project().join("tracked"), "x").unwrap();
    let server = MockServer::start().await;
    serve(&server, "/k", "old", MONDAY).await;
    let url = format!("{}/k", server.uri());
    for other in ["*", "tracked"] {
        let restored = bench.ask(restore(&url, None, selection(other))).await;
        assert_eq!(fingerprint(restored.unwrap()), None, "{other}");
    }
}

#[tokio::test]
async fn the_newer_of_two_names_is_restored() {
    for (own, other, restored) in [
        (Some(MONDAY), Some(TUESDAY), Some("other")),
        (Some(TUESDAY), Some(MONDAY), Some("own")),
        (Some(MONDAY), Some(MONDAY), Some("own")),
        (None, Some(MONDAY), Some("other")),
        (Some(MONDAY), None, Some("own")),
        (None, None, None),
    ] {
        let bench = empty().await;
        let server = MockServer::start().await;
        for (name, modified) in [("own", own), ("other", other)] {
            if let Some(modified) = modified {
                serve(&server, &format!("/{name}"), name, modified).await;
            }
        }
        let url = |name: &str| format!("{}/{name}?X-Amz-Signature=secret", server.uri());
        let request = restore(&url("own"), Some(&url("other")), selection("cached"));
        let answer = bench.ask(request).await.unwrap();
        assert_eq!(bench.read("cached").as_deref(), restored);
        // What lies under the other name is stored again under its own.
        assert_eq!(fingerprint(answer).is_some(), restored == Some("own"));
    }
}

#[tokio::test]
async fn an_archive_too_large_for_one_put_goes_up_in_parts() {
    let bench = empty().await;
    std::fs::write(bench.project().join("cached"), "content").unwrap();
    let server = MockServer::start().await;
    Mock::given(method("PUT"))
        .and(path("/part"))
        .respond_with(ResponseTemplate::new(200).insert_header("etag", "\"e\""))
        .expect(1)
        .mount(&server)
        .await;
    let kept = bench.dir.path().join("kept/archive");
    let HelperRequest::SaveCache(mut request) = save("http://nowhere.invalid/", None) else {
        unreachable!()
    };
    request.one_put = Some((10, kept.clone()));
    let answer = bench.ask(HelperRequest::SaveCache(request)).await.unwrap();
    let HelperAnswer::TooLargeForOnePut { bytes, file } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(
        (&file, bytes),
        (&kept, std::fs::metadata(&kept).unwrap().len())
    );
    let parts = |urls| {
        HelperRequest::UploadParts(UploadParts {
            file: kept.clone(),
            urls,
            part_bytes: 1 << 20,
            transfer_seconds: None,
        })
    };
    let url = format!("{}/part?X-Amz-Signature=secret", server.uri());
    let sent = bench.ask(parts(vec![url])).await.unwrap();
    let etags = vec!["\"e\"".into()];
    assert_eq!(sent, HelperAnswer::Parts { etags });
    assert!(!kept.exists());

    // Without a URL, it only goes.
    std::fs::write(&kept, "x").unwrap();
    bench.ask(parts(Vec::new())).await.unwrap();
    assert!(!kept.exists());
}
