//! REST for people: projects, their variables and their pipelines.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::Value;

use super::params::{AccessToken, Params};
use super::present;
use super::problem::Problem;
use crate::ids::{PipelineId, ProjectId};
use crate::model::Pipeline;
use crate::server::Server;
use crate::state::{ROOT, State};
use crate::trigger::{self, Change};
use crate::variable::Variable;
use crate::{git, projects, variables};

/// `GET /projects`: those that the token may see, newest first.
pub(super) async fn list(Shared(server): Shared<Arc<Server>>, token: AccessToken) -> Json<Value> {
    server.read(|state| {
        let seen = state
            .projects
            .values()
            .rev()
            .filter(|p| token.may_see(state, p.id));
        Json(
            seen.map(|project| present::project(&server.url, project))
                .collect(),
        )
    })
}

/// `POST /projects`.
pub(super) async fn create(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    params: Params,
) -> Result<Response, Problem> {
    server.read(|state| token.must_be_users(state))?;
    let given = params.text("path").or_else(|| params.text("name"));
    let name = given.ok_or_else(|| Problem::bad_request("name, path are missing"))?;
    let name = variables::slug(&name);
    if name.is_empty() {
        return Err(Problem::bad_request(
            "path can contain only letters, digits and '-'",
        ));
    }
    if server.read(|state| state.project(&format!("{ROOT}/{name}")).is_some()) {
        return Err(Problem::bad_request("path has already been taken"));
    }
    let id = projects::create(&server, ROOT, &name, git::SHA1)
        .await
        .map_err(|error| Problem::internal(&error))?;
    let body = server
        .read(|state| Some(present::project(&server.url, state.projects.get(&id)?)))
        .unwrap_or_default();
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `GET /projects/:id`.
pub(super) async fn show(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    server.read(|state| {
        Ok(Json(present::project(
            &server.url,
            token.project(state, &name)?,
        )))
    })
}

/// `GET /projects/:id/variables`.
pub(super) async fn variables(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    server.read(|state| {
        let project = token.project(state, &name)?;
        Ok(Json(
            project.variables.iter().map(present::variable).collect(),
        ))
    })
}

/// `POST /projects/:id/variables`.
pub(super) async fn set_variable(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    let variable = Variable {
        key: params.required("key")?,
        value: params.required("value")?,
        public: false,
        masked: params.flag("masked").unwrap_or(false),
        file: params.text("variable_type").as_deref() == Some("file"),
        raw: params.flag("raw").unwrap_or(false),
    };
    if variable.masked && (variable.value.len() < 8 || variable.value.contains(char::is_whitespace))
    {
        return Err(Problem::bad_request("value is invalid"));
    }
    let project = server.read(|state| token.project(state, &name).map(|project| project.id))?;
    let body = present::variable(&variable);
    server.change(|state| state.set_variable(project, variable));
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `GET /projects/:id/pipelines`: newest first; `sha`, `ref` and `status` choose among them.
pub(super) async fn pipelines(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Value>, Problem> {
    let fits = |name: &str, value: &str| params.text(name).is_none_or(|wanted| wanted == value);
    server.read(|state| {
        let project = token.project(state, &name)?.id;
        let chosen = state
            .pipelines
            .values()
            .rev()
            .filter(|pipeline| pipeline.project == project)
            .filter(|pipeline| fits("sha", &pipeline.commit.sha))
            .filter(|pipeline| fits("ref", &pipeline.git_ref))
            .filter(|pipeline| fits("status", pipeline.status.as_str()));
        Ok(Json(
            chosen
                .map(|found| present::pipeline(&server.url, state, found))
                .collect(),
        ))
    })
}

/// `GET /projects/:id/pipelines/:id`.
pub(super) async fn pipeline(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path((name, id)): Path<(String, PipelineId)>,
) -> Result<Json<Value>, Problem> {
    server.read(|state| {
        let found = find(state, &token, &name, id)?;
        Ok(Json(present::pipeline(&server.url, state, found)))
    })
}

/// `POST /projects/:id/pipelines/:id/cancel`.
pub(super) async fn cancel_pipeline(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path((name, id)): Path<(String, PipelineId)>,
) -> Result<Json<Value>, Problem> {
    server.change(|state| {
        find(state, &token, &name, id)?;
        state.cancel_pipeline(id, Timestamp::now());
        let found = find(state, &token, &name, id)?;
        Ok(Json(present::pipeline(&server.url, state, found)))
    })
}

/// `POST /projects/:id/pipeline`: start one for a branch or tag.
pub(super) async fn start_pipeline(
    Shared(server): Shared<Arc<Server>>,
    token: AccessToken,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    let project = server.read(|state| token.project(state, &name).map(|project| project.id))?;
    let change = change(&server, project, &params).await?;
    let made = trigger::pipeline(&server, project, change)
        .await
        .map_err(|error| Problem::internal(&error))?;
    let id = made.ok_or_else(|| Problem::bad_request("No stages / jobs for this pipeline."))?;
    let body = server.read(|state| {
        state
            .pipelines
            .get(&id)
            .map(|pipeline| present::pipeline(&server.url, state, pipeline))
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn change(server: &Server, project: ProjectId, params: &Params) -> Result<Change, Problem> {
    let name = params.required("ref")?;
    let refs = git::refs(&git::path(&server.dir, project))
        .await
        .map_err(|error| Problem::internal(&error))?;
    let branch = refs
        .get(&format!("refs/heads/{name}"))
        .map(|sha| (sha.clone(), false));
    let tag = || {
        refs.get(&format!("refs/tags/{name}"))
            .map(|sha| (sha.clone(), true))
    };
    let (sha, tag) = branch
        .or_else(tag)
        .ok_or_else(|| Problem::bad_request("Reference not found"))?;
    let given = params
        .get("variables")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let variables = given
        .iter()
        .filter_map(|variable| {
            let text = |key: &str| variable.get(key).and_then(Value::as_str);
            Some(Variable {
                public: false,
                ..Variable::public(text("key")?, text("value")?)
            })
        })
        .collect();
    Ok(Change {
        name,
        tag,
        before: git::ZERO.to_owned(),
        sha,
        source: "api",
        variables,
    })
}

fn find<'a>(
    state: &'a State,
    token: &AccessToken,
    name: &str,
    id: PipelineId,
) -> Result<&'a Pipeline, Problem> {
    let project = token.project(state, name)?.id;
    state
        .pipelines
        .get(&id)
        .filter(|pipeline| pipeline.project == project)
        .ok_or_else(|| Problem::not_found("Pipeline"))
}
