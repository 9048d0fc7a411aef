//! `git clone` and `git push` over HTTP: git's own `http-backend`, streamed in both directions.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::error::Error;
use crate::ids::ProjectId;
use crate::server::Server;
use crate::state::ROOT;
use crate::{git, projects, trigger};

mod access;

use access::{Access, access, basic_password};
pub(crate) use access::{readable, unauthorized};

/// Bytes read from git at a time.
const CHUNK: usize = 64 << 10;

/// A request for a repository, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GitPath<'a> {
    /// Full path of the project.
    project: &'a str,
    /// The requested service: `info/refs`, `git-upload-pack`, `git-receive-pack`.
    service: &'a str,
}

impl<'a> GitPath<'a> {
    /// Parse the path of a git request; `None` for any other path.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let services = ["info/refs", "git-upload-pack", "git-receive-pack"];
        services.into_iter().find_map(|service| {
            let before = path.strip_suffix(service)?.strip_suffix('/')?;
            let project = before.strip_prefix('/')?;
            let project = project.strip_suffix(".git").unwrap_or(project);
            let sane = project.contains('/') && !project.split('/').any(str::is_empty);
            sane.then_some(Self {
                project,
                service: &path[path.len() - service.len()..],
            })
        })
    }
}

/// Answer a git request.
pub(crate) async fn handle(server: Arc<Server>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(git_path) = GitPath::parse(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let query = request.uri().query().unwrap_or_default();
    let writes = git_path.service == "git-receive-pack"
        || query
            .split('&')
            .any(|pair| pair == "service=git-receive-pack");
    let Some(token) = basic_password(request.headers()) else {
        return unauthorized();
    };
    let project = match find(&server, git_path.project, &token, writes).await {
        Ok(project) => project,
        Err(response) => return response,
    };
    match server.read(|state| access(state, &token, project)) {
        Some(Access::Write) => {}
        Some(Access::Read) if !writes => {}
        Some(Access::Read) => {
            let reason = "You are not allowed to push code to this project.\n";
            return (StatusCode::FORBIDDEN, reason).into_response();
        }
        None => return unauthorized(),
    }
    let service = git_path.service.to_owned();
    run(server, project, &service, request)
        .await
        .unwrap_or_else(|error| {
            tracing::error!(%error, "git http-backend failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        })
}

/// The project; the first push to a path creates it, as in GitLab.
async fn find(
    server: &Server,
    path: &str,
    token: &str,
    writes: bool,
) -> Result<ProjectId, Response> {
    if let Some(id) = server.read(|state| state.project(path).map(|project| project.id)) {
        return Ok(id);
    }
    let not_found = || {
        let reason = "The project you were looking for could not be found or you don't have \
                      permission to view it.\n";
        (StatusCode::NOT_FOUND, reason).into_response()
    };
    let Some((namespace, name)) = path.rsplit_once('/') else {
        return Err(not_found());
    };
    let allowed = server.read(|state| {
        let known = state
            .projects
            .values()
            .any(|project| project.namespace == namespace);
        token == state.user_token && (known || namespace == ROOT)
    });
    if !allowed {
        let known = server.read(|state| token == state.user_token);
        return Err(if known { not_found() } else { unauthorized() });
    }
    if !writes {
        return Err(not_found());
    }
    projects::create(server, namespace, name, git::SHA1)
        .await
        .map_err(|error| {
            tracing::error!(%error, "project was not made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        })
}

async fn run(
    server: Arc<Server>,
    project: ProjectId,
    service: &str,
    request: Request,
) -> io::Result<Response> {
    let push = if service == "git-receive-pack" {
        Some(Push::begin(Arc::clone(&server), project).await)
    } else {
        None
    };
    let mut child = spawn(&server.dir, project, service, &request)?;
    let stdin = child.stdin.take();
    tokio::spawn(async move {
        let Some(mut stdin) = stdin else { return };
        let mut body = request.into_body().into_data_stream();
        while let Some(Ok(chunk)) = body.next().await {
            if stdin.write_all(&chunk).await.is_err() {
                break;
            }
        }
    });
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("git has no output"))?;
    let mut stdout = BufReader::with_capacity(CHUNK, stdout);
    let mut response = Response::builder();
    for (name, value) in cgi_headers(&mut stdout).await? {
        if name.eq_ignore_ascii_case("status") {
            let code = value
                .split(' ')
                .next()
                .and_then(|code| code.parse::<u16>().ok());
            response = response.status(code.unwrap_or(500));
        } else {
            response = response.header(name, value);
        }
    }
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(pump(child, stdout, sender, push));
    response
        .body(Body::from_stream(receiver))
        .map_err(io::Error::other)
}

fn spawn(dir: &Path, project: ProjectId, service: &str, request: &Request) -> io::Result<Child> {
    let header = |name: header::HeaderName| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let mut command = git::command(&git::path(dir, project));
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", dir)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{project}.git/{service}"))
        .env("REQUEST_METHOD", request.method().as_str())
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("CONTENT_TYPE", header(header::CONTENT_TYPE))
        .env("REMOTE_USER", "root")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    if request.headers().contains_key(header::CONTENT_LENGTH) {
        command.env("CONTENT_LENGTH", header(header::CONTENT_LENGTH));
    }
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        command.env("HTTP_CONTENT_ENCODING", header(header::CONTENT_ENCODING));
    }
    if let Some(protocol) = request
        .headers()
        .get("git-protocol")
        .and_then(|v| v.to_str().ok())
    {
        command.env("GIT_PROTOCOL", protocol);
    }
    command.spawn()
}

async fn cgi_headers(stdout: &mut BufReader<ChildStdout>) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if stdout.read_line(&mut line).await? == 0 {
            return Err(io::Error::other("git ended without an answer"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(headers);
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
}

/// Forward git's output. After a push, pipelines are created before the answer ends, so that the
/// client can find them.
async fn pump(
    mut child: Child,
    mut stdout: BufReader<ChildStdout>,
    mut sender: mpsc::Sender<io::Result<Bytes>>,
    push: Option<Push>,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match stdout.read(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => {
                // A push is completed even if its client has gone away.
                let _ = sender
                    .send(Ok(Bytes::copy_from_slice(&buffer[..length])))
                    .await;
            }
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                break;
            }
        }
    }
    if let Err(error) = child.wait().await {
        tracing::error!(%error, "git http-backend could not be waited for");
    }
    if let Some(push) = push {
        push.end().await;
    }
}

/// A push in progress: the previous refs, and the lock for changing them.
struct Push {
    server: Arc<Server>,
    project: ProjectId,
    before: BTreeMap<String, String>,
    _turn: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Push {
    async fn begin(server: Arc<Server>, project: ProjectId) -> Self {
        let lock = server.read(|state| {
            state
                .projects
                .get(&project)
                .map(|project| Arc::clone(&project.pushing))
        });
        let turn = match lock {
            Some(lock) => Some(lock.lock_owned().await),
            None => None,
        };
        let repository = git::path(&server.dir, project);
        let before = git::refs(&repository).await.unwrap_or_default();
        Self {
            server,
            project,
            before,
            _turn: turn,
        }
    }

    async fn end(self) {
        let repository = git::path(&self.server.dir, self.project);
        let after = match git::refs(&repository).await {
            Ok(after) => after,
            Err(error) => {
                tracing::error!(%error, "refs can't be read after a push");
                return;
            }
        };
        if let Err(error) = self.choose_default_branch(&after).await {
            tracing::error!(%error, "the default branch can't be set");
        }
        for change in trigger::changes(&self.before, &after) {
            if let Err(error) = trigger::pipeline(&self.server, self.project, change).await {
                tracing::error!(%error, project = %self.project, "no pipeline was made");
            }
        }
    }

    /// The first pushed branch becomes the default one, unless `main` is among them.
    async fn choose_default_branch(&self, after: &BTreeMap<String, String>) -> Result<(), Error> {
        let branches = |refs: &BTreeMap<String, String>| -> Vec<String> {
            let short = |name: &String| name.strip_prefix("refs/heads/").map(str::to_owned);
            refs.keys().filter_map(short).collect()
        };
        let new = branches(after);
        let Some(first) = new.first().filter(|_| branches(&self.before).is_empty()) else {
            return Ok(());
        };
        if new.iter().any(|name| name == "main") {
            return Ok(());
        }
        git::set_head(&git::path(&self.server.dir, self.project), first).await?;
        self.server.change(|state| {
            if let Some(project) = state.projects.get_mut(&self.project) {
                first.clone_into(&mut project.default_branch);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_requests_are_recognised() {
        let parsed = |path| GitPath::parse(path).map(|git| (git.project, git.service));
        assert_eq!(
            parsed("/root/a.git/info/refs"),
            Some(("root/a", "info/refs"))
        );
        assert_eq!(
            parsed("/group/sub/a.git/git-upload-pack"),
            Some(("group/sub/a", "git-upload-pack"))
        );
        assert_eq!(parsed("/root/a/info/refs"), Some(("root/a", "info/refs")));
        assert_eq!(parsed("/root/a/-/jobs/1"), None);
        assert_eq!(parsed("/a.git/info/refs"), None);
        assert_eq!(parsed("/..//a.git/info/refs"), None);
    }
}
