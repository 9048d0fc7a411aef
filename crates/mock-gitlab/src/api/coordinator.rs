//! Runners: registering, reporting in, and requesting jobs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::params::{self, Origin, Params};
use super::problem::Problem;
use crate::ids::RunnerId;
use crate::payload;
use crate::record::Caller;
use crate::server::Server;
use crate::state::{NewRunner, State, token};
use crate::status::Status;

/// Header with the queue's value, which the runner sends back with its next request.
const LAST_UPDATE: &str = "x-gitlab-last-update";

/// `POST /runners`: register with a registration token.
pub(super) async fn register(
    Shared(server): Shared<Arc<Server>>,
    params: Params,
) -> Result<Response, Problem> {
    let given = params.required("token")?;
    let expected = server.read(|state| state.registration_token.clone());
    if expected.as_ref() != Some(&given) {
        return Err(Problem::forbidden(""));
    }
    let (id, token) = server.change(|state| state.add_runner(new_runner(&params)));
    let body = json!({ "id": id, "token": token, "token_expires_at": null });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// The properties of a new runner. It takes untagged jobs if it has no tags itself.
pub(super) fn new_runner(params: &Params) -> NewRunner {
    let tags = params.list("tag_list");
    NewRunner {
        description: params.text("description").unwrap_or_default(),
        run_untagged: params.flag("run_untagged").unwrap_or(tags.is_empty()),
        tags,
        maximum_timeout: params
            .parsed("maximum_timeout")
            .map(std::time::Duration::from_secs),
        project: None,
        paused: params.flag("paused").unwrap_or(false),
    }
}

/// `DELETE /runners`: a runner unregisters itself.
pub(super) async fn unregister(
    Shared(server): Shared<Arc<Server>>,
    headers: HeaderMap,
    params: Params,
) -> Result<StatusCode, Problem> {
    let runner = authenticate(&server, &headers, &params)?;
    server.change(|state| state.runners.remove(&runner));
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /runners/managers`: one machine of a runner is gone for good.
pub(super) async fn remove_manager(
    Shared(server): Shared<Arc<Server>>,
    headers: HeaderMap,
    params: Params,
) -> Result<StatusCode, Problem> {
    let runner = authenticate(&server, &headers, &params)?;
    let system_id = params.required("system_id")?;
    let removed = server.change(|state| {
        state
            .runners
            .get_mut(&runner)
            .and_then(|runner| runner.managers.remove(&system_id))
    });
    removed
        .map(|_| StatusCode::NO_CONTENT)
        .ok_or_else(|| Problem::not_found(""))
}

/// `POST /runners/verify`: is the token still valid?
pub(super) async fn verify(
    Shared(server): Shared<Arc<Server>>,
    headers: HeaderMap,
    origin: Origin,
    params: Params,
) -> Result<Response, Problem> {
    let runner = authenticate(&server, &headers, &params)?;
    note_contact(&server, runner, &params, &origin);
    let token = server.read(|state| state.runners.get(&runner).map(|r| r.token.clone()));
    let body = json!({ "id": runner, "token": token, "token_expires_at": null });
    Ok(Json(body).into_response())
}

/// `POST /runners/reset_authentication_token`: the old token becomes invalid at once.
pub(super) async fn reset_token(
    Shared(server): Shared<Arc<Server>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let runner = authenticate(&server, &headers, &params)?;
    let fresh = token("glrt-");
    server.change(|state| {
        if let Some(runner) = state.runners.get_mut(&runner) {
            fresh.clone_into(&mut runner.token);
        }
    });
    let body = json!({ "token": fresh, "token_expires_at": null });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `POST /jobs/request`: a job, or nothing. The request of a runner that knows the queue's present
/// value is held until the queue changes, as by GitLab's Workhorse.
pub(super) async fn request_job(
    Shared(server): Shared<Arc<Server>>,
    headers: HeaderMap,
    origin: Origin,
    params: Params,
) -> Result<Response, Problem> {
    let runner = authenticate(&server, &headers, &params)?;
    note_contact(&server, runner, &params, &origin);
    let seen = params.text("last_update").unwrap_or_default();
    if server.read(|state| state.queue_value() == seen) {
        let changed = server
            .wait_for(server.options.hold, |state| {
                (state.queue_value() != seen).then_some(())
            })
            .await;
        if changed.is_none() {
            return Ok(nothing(&seen));
        }
    }
    // The token may have been revoked meanwhile.
    let runner = authenticate(&server, &headers, &params)?;
    let system_id = params.text("system_id");
    let caller = origin.caller(&params);
    match hand_out(&server, runner, system_id.as_deref(), &caller) {
        Ok(job) => Ok((StatusCode::CREATED, Json(job)).into_response()),
        Err(queue) => Ok(nothing(&queue)),
    }
}

/// Assign a job and build its payload, or return the queue's value at the moment it was empty.
fn hand_out(
    server: &Server,
    runner: RunnerId,
    system_id: Option<&str>,
    caller: &Caller,
) -> Result<Value, String> {
    let free = |state: &State| {
        let runner = state.runners.get(&runner)?;
        state
            .jobs
            .values()
            .any(|job| job.status == Status::Pending && state.may_take(runner, job))
            .then_some(())
    };
    // A change wakes every held request, so it is only made when there is a job to hand out.
    if let Some(queue) = server.read(|state| free(state).is_none().then(|| state.queue_value())) {
        return Err(queue);
    }
    server.change(|state| {
        let id = state.assign(runner, system_id, caller, Timestamp::now());
        let built = id.and_then(|id| Some((id, payload::build(state, &server.url, id)?)));
        let Some((id, (job, variables))) = built else {
            return Err(state.queue_value());
        };
        let secrets = variables.into_iter().filter(|variable| variable.masked);
        let secrets = secrets.map(|variable| variable.value).collect();
        if let Some(job) = state.jobs.get_mut(&id) {
            job.secrets = secrets;
        }
        tracing::info!(job = %id, runner = %runner, "job handed out");
        Ok(job)
    })
}

fn nothing(queue: &str) -> Response {
    (StatusCode::NO_CONTENT, [(LAST_UPDATE, queue.to_owned())]).into_response()
}

/// The runner with the given token, in the body or the header; 403 if there is none.
fn authenticate(
    server: &Server,
    headers: &HeaderMap,
    params: &Params,
) -> Result<RunnerId, Problem> {
    let given = params::token(params, headers, "runner-token");
    server
        .read(|state| state.runner_by_token(&given).map(|runner| runner.id))
        .ok_or_else(|| Problem::forbidden(""))
}

fn note_contact(server: &Server, runner: RunnerId, params: &Params, origin: &Origin) {
    let system_id = params.text("system_id").unwrap_or_default();
    let info = params.get("info").cloned();
    server.change(|state| {
        state.contacted(runner, &system_id, info, &origin.address, Timestamp::now());
    });
}
