//! REST for people: jobs, their traces and artifacts; and what tests query about them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::Value;

use super::params::{AccessToken, Params};
use super::present;
use super::problem::Problem;
use crate::ids::{JobId, PipelineId};
use crate::model::Job;
use crate::server::Server;
use crate::state::State;

/// `GET /jobs`: all that the token may see, newest first.
pub(super) async fn all(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    params: Params,
) -> Json<Value> {
    server.read(|state| {
        list(&server, state, &params, |job| {
            token.may_see(state, job.project)
        })
    })
}

/// `GET /projects/:id/jobs`.
pub(super) async fn of_project(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Value>, Problem> {
    server.read(|state| {
        let project = token.project(state, &name)?.id;
        Ok(list(&server, state, &params, |job| job.project == project))
    })
}

/// `GET /projects/:id/pipelines/:id/jobs`.
pub(super) async fn of_pipeline(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path((name, id)): Path<(String, PipelineId)>,
    params: Params,
) -> Result<Json<Value>, Problem> {
    let retried = params.flag("include_retried").unwrap_or(false);
    server.read(|state| {
        let project = token.project(state, &name)?.id;
        Ok(list(&server, state, &params, |job| {
            job.project == project && job.pipeline == id && (retried || !job.retried)
        }))
    })
}

/// The chosen jobs, newest first; `scope` keeps those in the given states.
fn list(
    server: &Server,
    state: &State,
    params: &Params,
    chosen: impl Fn(&Job) -> bool,
) -> Json<Value> {
    let scope = params.list("scope");
    let jobs = state
        .jobs
        .values()
        .rev()
        .filter(|job| chosen(job))
        .filter(|job| scope.is_empty() || scope.iter().any(|name| name == job.status.as_str()));
    Json(
        jobs.map(|job| present::job(&server.url, state, job))
            .collect(),
    )
}

/// `GET /projects/:id/jobs/:id`.
pub(super) async fn show(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path((name, id)): Path<(String, JobId)>,
) -> Result<Json<Value>, Problem> {
    server.read(|state| {
        let job = find(state, &token, &name, id)?;
        Ok(Json(present::job(&server.url, state, job)))
    })
}

/// `GET /projects/:id/jobs/:id/trace`.
pub(super) async fn trace(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path((name, id)): Path<(String, JobId)>,
) -> Result<Response, Problem> {
    let trace = server.read(|state| find(state, &token, &name, id).map(|job| job.trace.clone()))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], trace).into_response())
}

/// `GET /projects/:id/jobs/:id/artifacts`.
pub(super) async fn artifacts(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path((name, id)): Path<(String, JobId)>,
) -> Result<Response, Problem> {
    server.read(|state| find(state, &token, &name, id).map(|_| ()))?;
    super::artifacts::send(&server, id).await
}

/// `POST /projects/:id/jobs/:id/cancel`; with `force`, without waiting for its runner.
pub(super) async fn cancel(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path((name, id)): Path<(String, JobId)>,
    params: Params,
) -> Result<Response, Problem> {
    let force = params.flag("force").unwrap_or(false);
    server.change(|state| {
        find(state, &token, &name, id)?;
        state.cancel_job(id, force, Timestamp::now());
        let job = find(state, &token, &name, id)?;
        let body = Json(present::job(&server.url, state, job));
        Ok((StatusCode::CREATED, body).into_response())
    })
}

/// `POST /projects/:id/jobs/:id/retry`: run it again, as a new job.
pub(super) async fn retry(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path((name, id)): Path<(String, JobId)>,
) -> Result<Response, Problem> {
    server.change(|state| {
        find(state, &token, &name, id)?;
        let new = state
            .retry_job(id, Timestamp::now())
            .ok_or_else(|| Problem::forbidden("Job is not retryable"))?;
        let job = find(state, &token, &name, new)?;
        let body = Json(present::job(&server.url, state, job));
        Ok((StatusCode::CREATED, body).into_response())
    })
}

/// `POST /projects/:id/jobs/:id/play`: start a manual job.
pub(super) async fn play(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path((name, id)): Path<(String, JobId)>,
) -> Result<Json<Value>, Problem> {
    server.change(|state| {
        find(state, &token, &name, id)?;
        if !state.play_job(id, Timestamp::now()) {
            return Err(Problem::bad_request("400 Bad request - Unplayable Job"));
        }
        let job = find(state, &token, &name, id)?;
        Ok(Json(present::job(&server.url, state, job)))
    })
}

/// `GET /mock/violations`: the runners' violations of the protocol.
pub(super) async fn violations(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
) -> Result<Response, Problem> {
    server.read(|state| {
        token.must_be_users(state)?;
        Ok(Json(&state.violations).into_response())
    })
}

/// `GET /mock/jobs/:id/calls`: every call that was made about a job.
pub(super) async fn calls(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path(id): Path<JobId>,
) -> Result<Response, Problem> {
    server.read(|state| {
        token.must_be_users(state)?;
        let job = state
            .jobs
            .get(&id)
            .ok_or_else(|| Problem::not_found("Job"))?;
        Ok(Json(&job.calls).into_response())
    })
}

fn find<'a>(
    state: &'a State,
    token: &AccessToken,
    name: &str,
    id: JobId,
) -> Result<&'a Job, Problem> {
    let project = token.project(state, name)?.id;
    state
        .jobs
        .get(&id)
        .filter(|job| job.project == project)
        .ok_or_else(|| Problem::not_found("Job"))
}
