//! REST for people: runners, the user, the version.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::params::{AccessToken, Params};
use super::problem::Problem;
use super::{coordinator, present};
use crate::ids::{ProjectId, RunnerId};
use crate::server::Server;
use crate::variables::VERSION;

/// `GET /version`.
pub(super) async fn version(_: AccessToken) -> Json<Value> {
    let (major, minor, patch) = VERSION;
    Json(json!({ "version": format!("{major}.{minor}.{patch}"), "revision": "00000000" }))
}

/// `GET /user`.
pub(super) async fn user(_: AccessToken) -> Json<Value> {
    Json(json!({ "id": 1, "username": "root", "name": "Root", "state": "active" }))
}

/// `POST /user/runners`: make a runner and get its authentication token.
pub(super) async fn create(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    params: Params,
) -> Result<Response, Problem> {
    server.read(|state| token.must_be_users(state))?;
    let project = match params.required("runner_type")?.as_str() {
        "instance_type" | "group_type" => None,
        "project_type" => {
            let id = params
                .parsed::<ProjectId>("project_id")
                .ok_or_else(|| Problem::bad_request("project_id is missing"))?;
            server.read(|state| token.project(state, &id.to_string()).map(|_| ()))?;
            Some(id)
        }
        _ => {
            return Err(Problem::bad_request(
                "runner_type does not have a valid value",
            ));
        }
    };
    let mut new = coordinator::new_runner(&params);
    new.project = project;
    if new.tags.is_empty() && !new.run_untagged {
        let problem = "Validation failed: Tags list can not be empty when runner is not allowed \
                       to pick untagged jobs";
        return Err(Problem::bad_request(problem));
    }
    let (id, token) = server.change(|state| state.add_runner(new));
    let body = json!({ "id": id, "token": token, "token_expires_at": null });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `GET /runners/all`.
pub(super) async fn list(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
) -> Result<Json<Value>, Problem> {
    server.read(|state| {
        token.must_be_users(state)?;
        Ok(Json(state.runners.values().map(present::runner).collect()))
    })
}

/// `GET /runners/:id`.
pub(super) async fn show(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path(id): Path<RunnerId>,
) -> Result<Json<Value>, Problem> {
    server.read(|state| {
        token.must_be_users(state)?;
        let runner = state
            .runners
            .get(&id)
            .ok_or_else(|| Problem::not_found("Runner"))?;
        Ok(Json(present::runner(runner)))
    })
}

/// `PUT /runners/:id`: pause or resume it.
pub(super) async fn change(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path(id): Path<RunnerId>,
    params: Params,
) -> Result<Json<Value>, Problem> {
    server.change(|state| {
        token.must_be_users(state)?;
        state.tick_queue();
        let runner = state
            .runners
            .get_mut(&id)
            .ok_or_else(|| Problem::not_found("Runner"))?;
        if let Some(paused) = params.flag("paused") {
            runner.paused = paused;
        }
        Ok(Json(present::runner(runner)))
    })
}

/// `DELETE /runners/:id`: its token is refused from now on.
pub(super) async fn remove(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path(id): Path<RunnerId>,
) -> Result<StatusCode, Problem> {
    server.change(|state| {
        token.must_be_users(state)?;
        state
            .runners
            .remove(&id)
            .ok_or_else(|| Problem::not_found("Runner"))?;
        state.tick_queue();
        Ok(StatusCode::NO_CONTENT)
    })
}
