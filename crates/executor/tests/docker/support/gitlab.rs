//! A minimal GitLab: one repository over HTTP for clients with the job's token, and artifacts.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Multipart, Path as UrlPath, Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{any, post};
use base64::Engine;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

pub(crate) const TOKEN: &str = "glcbt-job-token";

pub(crate) struct GitLab {
    pub(crate) url: String,
    pub(crate) sha: String,
    pub(crate) artifacts: Artifacts,
    task: tokio::task::JoinHandle<()>,
}

type Artifacts = Arc<Mutex<BTreeMap<u64, Bytes>>>;

#[derive(Clone)]
struct Shared {
    repositories: PathBuf,
    artifacts: Artifacts,
    /// Whether a download was broken off already.
    broke_off: Arc<AtomicBool>,
}

impl GitLab {
    /// Serves `group/project.git` with one commit of these files, reachable from containers.
    pub(crate) async fn start(dir: &Path, files: &[(&str, &str)]) -> Self {
        let repositories = dir.join("repositories");
        let sha = repository(&repositories.join("group/project.git"), files);
        let artifacts = Artifacts::default();
        let shared = Shared {
            repositories,
            artifacts: Arc::clone(&artifacts),
            broke_off: Arc::default(),
        };
        let app = Router::new()
            .route("/api/v4/jobs/{id}/artifacts", post(upload).get(download))
            .fallback(any(git))
            .with_state(shared);
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://{}:{port}", bridge_address());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            sha,
            artifacts,
            task,
        }
    }

    /// The repository's URL as sent by GitLab, including the token.
    pub(crate) fn repo_url(&self) -> String {
        let host = self.url.trim_start_matches("http://");
        format!("http://gitlab-ci-token:{TOKEN}@{host}/group/project.git")
    }
}

impl Drop for GitLab {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The address of this host on Docker's default bridge: the first of its subnet, because some
/// engines do not report the gateway.
pub(crate) fn bridge_address() -> String {
    let output = Command::new("docker")
        .args([
            "network",
            "inspect",
            "bridge",
            "--format",
            "{{(index .IPAM.Config 0).Subnet}}",
        ])
        .output()
        .unwrap();
    let subnet = String::from_utf8(output.stdout).unwrap();
    let (network, _) = subnet.trim().rsplit_once('.').unwrap();
    format!("{network}.1")
}

fn repository(bare: &Path, files: &[(&str, &str)]) -> String {
    let work = bare.with_extension("work");
    std::fs::create_dir_all(&work).unwrap();
    for (name, content) in files {
        std::fs::write(work.join(name), content).unwrap();
    }
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-C"])
            .arg(&work)
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    git(&["rev-parse", "HEAD"])
}

/// `git http-backend`, for clients with the token.
async fn git(State(shared): State<Shared>, request: Request) -> Response<Body> {
    let expected =
        base64::engine::general_purpose::STANDARD.encode(format!("gitlab-ci-token:{TOKEN}"));
    let (request, body) = request.into_parts();
    let given = request
        .headers
        .get("authorization")
        .and_then(|h| h.to_str().ok());
    if given != Some(&format!("Basic {expected}")) {
        return Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .header("www-authenticate", "Basic realm=\"GitLab\"")
            .body(Body::empty())
            .unwrap();
    }
    let header = |name: &str| {
        request
            .headers
            .get(name)
            .and_then(|h| h.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let mut backend = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", request.method.as_str())
        .env("PATH_INFO", request.uri.path())
        .env("QUERY_STRING", request.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    let mut stdin = backend.stdin.take().unwrap();
    tokio::spawn(async move { stdin.write_all(&body).await });
    let output = backend.wait_with_output().await.unwrap().stdout;
    let split = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..split]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(&value[..3]),
            _ => response.header(name, value),
        };
    }
    response
        .body(Body::from(output[split + 4..].to_vec()))
        .unwrap()
}

async fn upload(
    State(shared): State<Shared>,
    UrlPath(id): UrlPath<u64>,
    headers: HeaderMap,
    mut form: Multipart,
) -> StatusCode {
    if headers.get("job-token").and_then(|h| h.to_str().ok()) != Some(TOKEN) {
        return StatusCode::FORBIDDEN;
    }
    while let Some(field) = form.next_field().await.unwrap() {
        if field.name() == Some("file") {
            let content = field.bytes().await.unwrap();
            shared.artifacts.lock().insert(id, content);
        }
    }
    StatusCode::CREATED
}

/// The first download breaks off in the middle.
async fn download(State(shared): State<Shared>, UrlPath(id): UrlPath<u64>) -> Response<Body> {
    let found = shared.artifacts.lock().get(&id).cloned();
    match found {
        Some(content) if !shared.broke_off.swap(true, Ordering::SeqCst) => {
            let half = content.slice(..content.len() / 2);
            let end = futures::stream::once(async {
                // Not before the first half was sent.
                tokio::time::sleep(Duration::from_millis(200)).await;
                Err(std::io::Error::other("broken off"))
            });
            let parts = futures::stream::iter([Ok(half)]).chain(end);
            Response::new(Body::from_stream(parts))
        }
        Some(content) => Response::new(Body::from(content)),
        None => Response::builder()
            .status(StatusCode::NOT_FOUND)
            .body(Body::empty())
            .unwrap(),
    }
}
