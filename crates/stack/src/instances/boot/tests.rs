//! The scripts as text, and their signature, compared with the SDK's.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use sha2::{Digest as _, Sha256};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

const KEY_ID: &str = "ASIAEXAMPLE";
const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION: &str = "IQoJb3JpZ2luX2VjE//example+token==";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn source(endpoint: Option<&Url>) -> Source<'_> {
    Source {
        stack: "ci",
        region: "eu-west-1",
        endpoint,
        bucket: "onspot-ci-123456789012-eu-west-1",
        sha256: SHA256,
    }
}

fn manager<'a>(settings: &'a str, cache: Option<&'a RegistryCache>) -> ManagerBoot<'a> {
    ManagerBoot {
        source: source(None),
        settings,
        os: Os::AmazonLinux2023,
        registry_cache: cache,
    }
}

fn worker(mirrors: &[Url], os: Os) -> WorkerBoot<'_> {
    WorkerBoot {
        source: source(None),
        runner: "docker.m3",
        os,
        settings: "stack = \"ci\"\nconfig = '''\n[[runners]]\n  name = \"a@b@c\"\n'''\n",
        registry_mirrors: mirrors,
        registry_cache: false,
        helper: Some(("bin/onspot-helper-1234.tar.gz".to_owned(), "1234")),
    }
}

#[test]
fn the_managers_script() {
    let script = manager("stack = \"ci\"\nconcurrent = 10\n", None)
        .render()
        .unwrap();
    assert_parses(&script);
    insta::assert_snapshot!(script);
}

#[test]
fn a_manager_that_keeps_images_starts_its_cache_last() {
    let without = manager("", None).render().unwrap();
    let cache = RegistryCache::default();
    let script = manager("", Some(&cache)).render().unwrap();
    assert_parses(&script);
    let registry = script.strip_prefix(&without).expect("the rest is the same");
    insta::assert_snapshot!(registry);
    assert!(!registry.contains("daemon.json"), "Docker Hub is no mirror");

    let mirrored = RegistryCache {
        upstream: Url::parse("http://10.0.0.5:5000/").unwrap(),
        ..cache
    };
    let script = manager("", Some(&mirrored)).render().unwrap();
    assert_parses(&script);
    assert!(script.contains("REGISTRY_PROXY_REMOTEURL=http://10.0.0.5:5000 \\\n"));
    let (_, json) = script.split_once("daemon.json").unwrap();
    assert!(json.contains("\"http://10.0.0.5:5000\""), "{json}");
}

/// If the engine can't be installed, the script reports that and continues to its end.
#[test]
fn a_cache_that_can_not_be_started_leaves_the_manager_alone() {
    let cache = RegistryCache::default();
    let script = manager("", Some(&cache)).render().unwrap();
    let (_, start) = script.split_once("\nstart_registry() {").unwrap();
    for broken in ["need() { false; }", "need() { :; }\nsystemctl() { false; }"] {
        let output = run(&format!(
            "{}\ntrap 'failed $? \"$BASH_COMMAND\"' ERR\nfailed() {{ echo FAILED; }}\n{broken}\n\
             start_registry() {{{start}\necho \"the end\"\n",
            common(&source(None), "x")
        ));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            said,
            "onspot boot: there is no cache of images: workers go to Docker Hub\nthe end\n"
        );
    }
}

#[test]
fn a_workers_engine_asks_the_managers_cache_before_other_mirrors() {
    let mirrors = [Url::parse("http://10.0.0.5:5000/").unwrap()];
    let boot = WorkerBoot {
        registry_cache: true,
        ..worker(&mirrors, Os::Debian12)
    };
    let script = boot.render().unwrap();
    let (_, json) = script
        .split_once("daemon.json <<'END_OF_ONSPOT_FILE'\n")
        .unwrap();
    let (json, _) = json.split_once("\nEND_OF").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "registry-mirrors": ["http://127.0.0.1:15850", "http://10.0.0.5:5000"]
        })
    );
}

#[test]
fn the_workers_script() {
    let mirrors = [Url::parse("http://10.0.0.5:5000/").unwrap()];
    let script = worker(&mirrors, Os::Ubuntu2204).render().unwrap();
    assert_parses(&script);
    // The functions are in the other snapshot.
    let body = script.split_once("trap ").unwrap().1;
    insta::assert_snapshot!(body);
}

#[test]
fn every_system_has_its_package_of_docker() {
    for (os, package) in [
        (Os::AmazonLinux2023, "need docker docker\n"),
        (Os::Debian12, "need docker docker.io\n"),
        (Os::Ubuntu2204, "need docker docker.io\n"),
    ] {
        let script = worker(&[], os).render().unwrap();
        assert!(script.contains(package), "{os}");
        assert!(!script.contains("daemon.json"));
    }
}

#[test]
fn a_worker_without_helper_image_loads_none() {
    let boot = WorkerBoot {
        helper: None,
        ..worker(&[], Os::Debian12)
    };
    let script = boot.render().unwrap();
    assert_parses(&script);
    assert!(!script.contains("docker load") && !script.contains("$helper"));
}

#[test]
fn a_script_that_ec2_would_refuse_is_refused_here() {
    let long = "x".repeat(MAX_USER_DATA);
    assert!(matches!(
        manager(&long, None).render(),
        Err(Error::BootScript { .. })
    ));
}

#[test]
fn values_are_put_in_once_and_stay_as_they_are() {
    let filled = fill(
        "@A@ mail@example.org @B@ @EOF@",
        &[("A", "@B@"), ("B", "x@")],
    );
    assert_eq!(filled, format!("@B@ mail@example.org x@ {EOF}"));
}

#[test]
fn a_bucket_on_aws_has_a_host_name_of_its_own() {
    let script = common(&source(None), "x");
    let headers = run(&format!(
        "{script}\nKEY_ID={KEY_ID} KEY={KEY} SESSION={SESSION}\n\
         signed_headers \"$S3_PATH/bin/onspot-1\" 20260102T030405Z\n"
    ));
    assert!(headers.status.success(), "{headers:?}");
    let headers = String::from_utf8(headers.stdout).unwrap();
    let url = "https://onspot-ci-123456789012-eu-west-1.s3.eu-west-1.amazonaws.com/bin/onspot-1";
    let expected = authorization(url, "20260102T030405Z");
    assert!(
        headers.contains(&format!("Authorization: {expected}")),
        "{headers}\n{expected}"
    );
}

#[tokio::test]
async fn a_fetch_is_signed_as_the_sdk_signs_and_checked() {
    let server = instance_and_bucket(b"program").await;
    let endpoint = Url::parse(&server.uri()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = fetch(
        &endpoint,
        dir.path(),
        &hex::encode(Sha256::digest(b"program")),
    )
    .await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        std::fs::read(dir.path().join("onspot")).unwrap(),
        b"program"
    );

    let requests = server.received_requests().await.unwrap();
    let get = requests
        .iter()
        .find(|request| request.url.path().ends_with("onspot-1"))
        .unwrap();
    let sent = |name: &str| get.headers[name].to_str().unwrap().to_owned();
    let url = format!("{endpoint}onspot-ci-123456789012-eu-west-1/bin/onspot-1");
    assert_eq!(
        sent("authorization"),
        authorization(&url, &sent("x-amz-date"))
    );
    assert_eq!(sent("x-amz-content-sha256"), EMPTY);
    assert_eq!(sent("x-amz-security-token"), SESSION);
}

#[tokio::test]
async fn what_was_tampered_with_is_not_kept() {
    let server = instance_and_bucket(b"tampered").await;
    let endpoint = Url::parse(&server.uri()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = fetch(
        &endpoint,
        dir.path(),
        &hex::encode(Sha256::digest(b"program")),
    )
    .await;
    assert!(!output.status.success());
    assert!(!dir.path().join("onspot").exists());
}

#[test]
fn a_failure_names_the_line_of_the_script_and_ends_the_instance() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("user-data");
    // The tests must not turn off the machine they run on.
    let script = format!(
        "{}\nsystemd-run() {{ echo \"ends: $*\" >{}/end; }}\n\
         trap 'failed $? \"$BASH_COMMAND\"' ERR\n\
         fetch() {{ retry 1 false; }}\nfetch the program\nsay unreachable\n",
        common(&source(None), "x"),
        dir.path().display()
    );
    std::fs::write(&path, script).unwrap();
    let output = bash(&[path.to_str().unwrap()], "");
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with("onspot boot: FAILED with status 1 at line "),
        "{told}"
    );
    assert!(told.ends_with(": fetch the program\n"), "{told}");
    assert!(output.stdout.is_empty());
    let end = std::fs::read_to_string(dir.path().join("end")).unwrap();
    assert_eq!(end, "ends: --on-active=5min systemctl poweroff\n");
}

/// A server that is both the instance's metadata and the bucket.
async fn instance_and_bucket(content: &[u8]) -> MockServer {
    let server = MockServer::start().await;
    let token = || header("x-aws-ec2-metadata-token", "imds-token");
    let role = "/latest/meta-data/iam/security-credentials/";
    let credentials = serde_json::json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": KEY_ID,
        "SecretAccessKey": KEY,
        "Token": SESSION,
        "Expiration": "2026-01-01T06:00:00Z",
    });
    let mocks = [
        Mock::given(method("PUT"))
            .and(path("/latest/api/token"))
            .respond_with(ResponseTemplate::new(200).set_body_string("imds-token")),
        Mock::given(method("GET"))
            .and(path(role))
            .and(token())
            .respond_with(ResponseTemplate::new(200).set_body_string("worker")),
        Mock::given(method("GET"))
            .and(path(format!("{role}worker")))
            .and(token())
            .respond_with(ResponseTemplate::new(200).set_body_string(format!("{credentials:#}"))),
        Mock::given(method("GET"))
            .and(path("/onspot-ci-123456789012-eu-west-1/bin/onspot-1"))
            .respond_with(ResponseTemplate::new(200).set_body_bytes(content)),
    ];
    for mock in mocks {
        mock.mount(&server).await;
    }
    server
}

/// Runs the script's `get` against the server.
async fn fetch(endpoint: &Url, dir: &Path, sha256: &str) -> Output {
    let imds = endpoint.as_str().trim_end_matches('/');
    let script = format!(
        "{}\nIMDS={imds}\nget bin/onspot-1 {}/onspot {sha256}\n",
        common(&source(Some(endpoint)), "x"),
        dir.display()
    );
    tokio::task::spawn_blocking(move || run(&script))
        .await
        .unwrap()
}

/// Runs a script as an instance would, with nothing of this host's environment except its tools.
fn run(script: &str) -> Output {
    bash(&["-s"], script)
}

/// Lets bash parse the script without running it.
fn assert_parses(script: &str) {
    let output = bash(&["-n", "-s"], script);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

fn bash(arguments: &[&str], script: &str) -> Output {
    let mut child = Command::new("bash")
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// The `Authorization` header that the SDK's signer makes for a GET of `url` at `time`, written
/// as in `x-amz-date`.
fn authorization(url: &str, time: &str) -> String {
    let time = format!("{time} +0000");
    let at = jiff::Timestamp::strptime("%Y%m%dT%H%M%SZ %z", time)
        .unwrap()
        .as_second();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at.try_into().unwrap());
    let identity = Credentials::new(KEY_ID, KEY, Some(SESSION.to_owned()), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("s3")
        .time(at)
        .settings(settings)
        .build()
        .unwrap();
    let body = SignableBody::Precomputed(EMPTY.to_owned());
    let request = SignableRequest::new("GET", url, std::iter::empty(), body).unwrap();
    let signed = sign(request, &parameters.into()).unwrap().into_parts().0;
    let found = signed.headers().find(|(name, _)| *name == "authorization");
    found.unwrap().1.to_owned()
}
