//! The HTTP routes.

mod artifacts;
mod coordinator;
mod params;
mod present;
mod problem;
mod rest_jobs;
mod rest_projects;
mod rest_runners;
mod updates;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State as Shared};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post, put};

use crate::git_http::{self, GitPath};
use crate::lfs::{self, LfsPath};
use crate::server::Server;
use crate::{faults, pages};
use problem::Problem;

/// The routes of the whole server.
pub(crate) fn router(server: &Arc<Server>) -> Router {
    let api = coordinator_routes()
        .merge(people_routes())
        .fallback(unknown_call);
    Router::new()
        .nest("/api/v4", api)
        .merge(pages::routes())
        .fallback(others)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&server.faults),
            faults::layer,
        ))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(server))
}

/// Routes for runners.
fn coordinator_routes() -> Router<Arc<Server>> {
    Router::new()
        .route(
            "/runners",
            post(coordinator::register).delete(coordinator::unregister),
        )
        .route("/runners/verify", post(coordinator::verify))
        .route(
            "/runners/managers",
            axum::routing::delete(coordinator::remove_manager),
        )
        .route(
            "/runners/reset_authentication_token",
            post(coordinator::reset_token),
        )
        .route("/jobs/request", post(coordinator::request_job))
        .route("/jobs/{id}", put(updates::update))
        .route(
            "/jobs/{id}/trace",
            axum::routing::patch(updates::append_trace),
        )
        .route(
            "/jobs/{id}/artifacts",
            post(artifacts::upload).get(artifacts::download),
        )
        .route("/jobs/{id}/artifacts/authorize", post(artifacts::authorize))
}

/// Routes for people and their tools.
fn people_routes() -> Router<Arc<Server>> {
    use {rest_jobs as jobs, rest_projects as projects, rest_runners as runners};
    Router::new()
        .route("/version", get(runners::version))
        .route("/user", get(runners::user))
        .route("/user/runners", post(runners::create))
        .route("/runners/all", get(runners::list))
        .route(
            "/runners/{id}",
            get(runners::show)
                .delete(runners::remove)
                .put(runners::change),
        )
        .route("/projects", get(projects::list).post(projects::create))
        .route("/projects/{project}", get(projects::show))
        .route(
            "/projects/{project}/variables",
            get(projects::variables).post(projects::set_variable),
        )
        .route(
            "/projects/{project}/pipeline",
            post(projects::start_pipeline),
        )
        .route("/projects/{project}/pipelines", get(projects::pipelines))
        .route(
            "/projects/{project}/pipelines/{id}",
            get(projects::pipeline),
        )
        .route(
            "/projects/{project}/pipelines/{id}/jobs",
            get(jobs::of_pipeline),
        )
        .route(
            "/projects/{project}/pipelines/{id}/cancel",
            post(projects::cancel_pipeline),
        )
        .route("/projects/{project}/jobs", get(jobs::of_project))
        .route("/projects/{project}/jobs/{id}", get(jobs::show))
        .route("/projects/{project}/jobs/{id}/trace", get(jobs::trace))
        .route(
            "/projects/{project}/jobs/{id}/artifacts",
            get(jobs::artifacts),
        )
        .route("/projects/{project}/jobs/{id}/cancel", post(jobs::cancel))
        .route("/projects/{project}/jobs/{id}/retry", post(jobs::retry))
        .route("/projects/{project}/jobs/{id}/play", post(jobs::play))
        .route("/jobs", get(jobs::all))
        .route("/mock/violations", get(jobs::violations))
        .route("/mock/jobs/{id}/calls", get(jobs::calls))
}

async fn unknown_call() -> Problem {
    Problem::not_found("")
}

/// Paths of projects: git, and the URLs that GitLab gives jobs and pipelines.
async fn others(Shared(server): Shared<Arc<Server>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if GitPath::parse(&path).is_some() {
        return git_http::handle(server, request).await;
    }
    if LfsPath::parse(&path).is_some() {
        return lfs::handle(server, request).await;
    }
    if let Some((_, rest)) = path.split_once("/-/")
        && !path.starts_with("/-/")
    {
        return Redirect::temporary(&format!("/-/{rest}")).into_response();
    }
    StatusCode::NOT_FOUND.into_response()
}
