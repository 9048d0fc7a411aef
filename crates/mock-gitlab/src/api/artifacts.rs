//! Artifacts: files that a job leaves behind for other jobs and for people.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::multipart::Field;
use axum::extract::{FromRequest, Multipart, Path, Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use super::params::{self, Origin, Params};
use super::problem::Problem;
use super::updates::not_running;
use crate::dotenv;
use crate::ids::JobId;
use crate::model::Artifact;
use crate::record::JobCallKind;
use crate::server::Server;
use crate::variable::Variable;

/// `POST /jobs/:id/artifacts/authorize`: may this be uploaded?
pub(super) async fn authorize(
    Shared(server): Shared<Arc<Server>>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    authenticate(&server, id, &params::token(&params, &headers, "job-token"))?;
    if params
        .parsed::<u64>("filesize")
        .is_some_and(|size| size > server.options.artifact_limit)
    {
        return Err(too_large());
    }
    Ok(Json(serde_json::json!({})).into_response())
}

/// `POST /jobs/:id/artifacts`: a multipart form with the field `file`.
pub(super) async fn upload(
    Shared(server): Shared<Arc<Server>>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
    origin: Origin,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::of_query(request.uri().query().unwrap_or_default());
    authenticate(&server, id, &params::token(&params, &headers, "job-token"))?;
    let text = |name: &str, default: &str| params.text(name).unwrap_or_else(|| default.to_owned());
    let (kind, format) = (
        text("artifact_type", "archive"),
        text("artifact_format", "zip"),
    );
    let (filename, path, size) = stored_file(&server, id, &kind, request).await?;
    let reported = match kind.as_str() {
        "dotenv" => dotenv(&path, &format).await?,
        _ => Vec::new(),
    };
    let artifact = Artifact {
        kind: kind.clone(),
        format,
        filename,
        size,
        path,
        expire_in: params.text("expire_in"),
    };
    let caller = origin.caller(&Params::default());
    let call = JobCallKind::Artifact {
        artifact_type: kind.clone(),
        size,
    };
    server.change(|state| {
        state.record_call(id, &caller, call, 201, Timestamp::now());
        if let Some(job) = state.jobs.get_mut(&id) {
            job.artifacts.insert(kind, artifact);
            job.reported_variables.extend(reported);
        }
    });
    Ok((StatusCode::CREATED, Json("201")).into_response())
}

/// Store the form's file, and return its name, path and size.
async fn stored_file(
    server: &Server,
    id: JobId,
    kind: &str,
    request: Request,
) -> Result<(String, PathBuf, u64), Problem> {
    let bad = |error: String| Problem::bad_request(format!("400 Bad request: {error}"));
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| bad(error.to_string()))?;
    let mut stored = None;
    while let Some(field) = form.next_field().await.map_err(|e| bad(e.to_string()))? {
        if field.name() == Some("file") {
            let folder = server.dir.join("artifacts").join(id.to_string());
            let filename = field.file_name().unwrap_or("artifacts.zip").to_owned();
            let path = folder.join(kind.replace(['/', '.'], "_"));
            let size = store(field, &folder, &path, server.options.artifact_limit).await?;
            stored = Some((filename, path, size));
        }
    }
    stored.ok_or_else(|| Problem::bad_request("file is missing"))
}

/// The variables in a report that was just stored.
async fn dotenv(path: &FilePath, format: &str) -> Result<Vec<Variable>, Problem> {
    let packed = tokio::fs::read(path).await;
    let packed = packed.map_err(|error| Problem::internal(&error))?;
    dotenv::unpack(&packed, format).map_err(|error| Problem::bad_request(error.to_string()))
}

async fn store(
    mut field: Field<'_>,
    folder: &FilePath,
    path: &FilePath,
    limit: u64,
) -> Result<u64, Problem> {
    let internal = |error: std::io::Error| Problem::internal(&error);
    tokio::fs::create_dir_all(folder).await.map_err(internal)?;
    let mut file = tokio::fs::File::create(path).await.map_err(internal)?;
    let mut size = 0;
    while let Some(chunk) = field
        .chunk()
        .await
        .map_err(|error| Problem::bad_request(format!("400 Bad request: {error}")))?
    {
        size += chunk.len() as u64;
        if size > limit {
            return Err(too_large());
        }
        file.write_all(&chunk).await.map_err(internal)?;
    }
    file.flush().await.map_err(internal)?;
    Ok(size)
}

/// `GET /jobs/:id/artifacts`: with the job's own token, or that of a running job of the project.
pub(super) async fn download(
    Shared(server): Shared<Arc<Server>>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
    origin: Origin,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::of_query(request.uri().query().unwrap_or_default());
    let token = params::token(&params, &headers, "job-token");
    let allowed = server.read(|state| {
        let Some(job) = state.jobs.get(&id) else {
            return false;
        };
        job.token == token
            || state
                .job_by_token(&token)
                .is_some_and(|other| other.project == job.project)
    });
    if !allowed {
        return Err(Problem::forbidden(""));
    }
    let caller = origin.caller(&Params::default());
    let call = JobCallKind::ArtifactFetched;
    server.change(|state| state.record_call(id, &caller, call, 200, Timestamp::now()));
    send(&server, id).await
}

/// The archive of a job, as a file.
pub(super) async fn send(server: &Server, id: JobId) -> Result<Response, Problem> {
    let artifact = server
        .read(|state| state.jobs.get(&id)?.artifacts.get("archive").cloned())
        .ok_or_else(|| Problem::not_found(""))?;
    let file = tokio::fs::File::open(&artifact.path)
        .await
        .map_err(|error| Problem::internal(&error))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, artifact.size.to_string()),
        (
            header::CONTENT_DISPOSITION,
            format!(
                "attachment; filename=\"{}\"",
                artifact.filename.replace('"', "_")
            ),
        ),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

fn authenticate(server: &Server, id: JobId, token: &str) -> Result<(), Problem> {
    let status = server.read(|state| {
        let job = state.jobs.get(&id)?;
        (job.token == token).then_some(job.status)
    });
    match status {
        None => Err(Problem::forbidden("")),
        Some(status) if status.is_with_runner() => Ok(()),
        Some(status) => Err(not_running(status.as_str())),
    }
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "413 Request Entity Too Large",
    )
}
