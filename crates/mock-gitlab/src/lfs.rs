//! Files of git-lfs: only their download, and only by `basic` transfers, at GitLab's addresses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::git_http;
use crate::ids::ProjectId;
use crate::server::Server;

/// The media type of the protocol.
const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
/// The largest request for a list of files.
const LARGEST: usize = 1 << 20;
/// The address of the list, after the project's.
const BATCH: &str = ".git/info/lfs/objects/batch";
/// The address of a file, after the project's.
const OBJECT: &str = ".git/gitlab-lfs/objects/";

/// A request for files, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LfsPath<'a> {
    /// Where files are, of this project.
    Batch(&'a str),
    /// A file of this project.
    Object(&'a str, &'a str),
}

impl<'a> LfsPath<'a> {
    /// Parse the path of a request; `None` for any other path.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        if let Some(project) = path.strip_suffix(BATCH) {
            return Some(Self::Batch(project));
        }
        let (project, oid) = path.split_once(OBJECT)?;
        let is_hash = oid.len() == 64 && oid.chars().all(|c| c.is_ascii_hexdigit());
        is_hash.then_some(Self::Object(project, oid))
    }
}

#[derive(Deserialize)]
struct Batch {
    operation: String,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    size: u64,
}

/// Answer a request for files.
pub(crate) async fn handle(server: Arc<Server>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(wanted) = LfsPath::parse(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (LfsPath::Batch(name) | LfsPath::Object(name, _)) = wanted;
    let Some(project) = git_http::readable(&server, name, request.headers()) else {
        return git_http::unauthorized();
    };
    match wanted {
        LfsPath::Object(_, oid) => {
            let file = tokio::fs::read(folder(&server.dir, project).join(oid)).await;
            file.map_or_else(
                |_| StatusCode::NOT_FOUND.into_response(),
                IntoResponse::into_response,
            )
        }
        LfsPath::Batch(_) => {
            // Without a login of their own, the files are asked for with the list's.
            let login = request.headers().get(header::AUTHORIZATION).cloned();
            let login = login.and_then(|login| login.to_str().map(str::to_owned).ok());
            let body = to_bytes(request.into_body(), LARGEST).await;
            let batch = body
                .ok()
                .and_then(|body| serde_json::from_slice(&body).ok());
            let Some(batch) = batch.filter(|batch: &Batch| batch.operation == "download") else {
                return StatusCode::UNPROCESSABLE_ENTITY.into_response();
            };
            let base = format!(
                "{}/{name}{OBJECT}",
                server.url.as_str().trim_end_matches('/')
            );
            let folder = folder(&server.dir, project);
            let objects = batch.objects.iter();
            let objects = objects.map(|object| listed(object, &folder, &base, login.as_deref()));
            let answer = json!({ "transfer": "basic", "objects": objects.collect::<Vec<_>>() });
            ([(header::CONTENT_TYPE, MEDIA_TYPE)], Json(answer)).into_response()
        }
    }
}

fn listed(object: &Object, folder: &Path, base: &str, login: Option<&str>) -> Value {
    let (oid, size) = (&object.oid, object.size);
    if !folder.join(oid).is_file() {
        let error = json!({ "code": 404, "message": "Object does not exist on the server" });
        return json!({ "oid": oid, "size": size, "error": error });
    }
    let download = json!({
        "href": format!("{base}{oid}"),
        "header": { "Authorization": login },
    });
    json!({
        "oid": oid, "size": size, "authenticated": true, "actions": { "download": download },
    })
}

/// Store a file, and return its pointer.
pub(crate) async fn store(dir: &Path, project: ProjectId, content: &[u8]) -> Result<String, Error> {
    let oid = hex::encode(Sha256::digest(content));
    let folder = folder(dir, project);
    let failed = Error::folder(&folder);
    tokio::fs::create_dir_all(&folder).await.map_err(&failed)?;
    let written = tokio::fs::write(folder.join(&oid), content).await;
    written.map_err(&failed)?;
    Ok(format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {}\n",
        content.len()
    ))
}

fn folder(dir: &Path, project: ProjectId) -> PathBuf {
    dir.join(format!("{project}.lfs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_files_are_told_from_others() {
        let oid = "a".repeat(64);
        let object = format!("/root/a.git/gitlab-lfs/objects/{oid}");
        assert_eq!(
            LfsPath::parse(&object),
            Some(LfsPath::Object("root/a", &oid))
        );
        assert_eq!(
            LfsPath::parse("/root/a.git/info/lfs/objects/batch"),
            Some(LfsPath::Batch("root/a"))
        );
        assert_eq!(LfsPath::parse("/root/a.git/gitlab-lfs/objects/../x"), None);
        assert_eq!(LfsPath::parse("/root/a.git/info/refs"), None);
    }
}
