//! A call's parameters, from query, JSON or form, and its caller.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::ids::ProjectId;
use crate::model::ProjectState;
use crate::record::Caller;
use crate::server::Server;
use crate::state::State;

/// The largest body of a call that uploads no file.
const MAX_BODY: usize = 1 << 20;

/// The parameters of a call, from its query and its body.
#[derive(Debug, Clone, Default)]
pub(super) struct Params(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let mut params = Self::of_query(request.uri().query().unwrap_or_default());
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = to_bytes(request.into_body(), MAX_BODY)
            .await
            .map_err(|_| Problem::bad_request("400 Bad request: the body is too large"))?;
        if body.is_empty() {
            return Ok(params);
        }
        if kind.starts_with("application/x-www-form-urlencoded") {
            params
                .0
                .extend(Self::of_query(&String::from_utf8_lossy(&body)).0);
        } else {
            let json: Value = serde_json::from_slice(&body)
                .map_err(|error| Problem::bad_request(format!("400 Bad request: {error}")))?;
            if let Value::Object(fields) = json {
                params.0.extend(fields);
            }
        }
        Ok(params)
    }
}

impl Params {
    /// The parameters of a query or a form. `name[]` makes a list.
    pub(super) fn of_query(query: &str) -> Self {
        let mut params = Map::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = Value::String(value.into_owned());
            match name.strip_suffix("[]") {
                Some(name) => {
                    let list = params
                        .entry(name)
                        .or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(list) = list {
                        list.push(value);
                    }
                }
                None => {
                    params.insert(name.into_owned(), value);
                }
            }
        }
        Self(params)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A string; numbers and booleans as they are written.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    /// A required string; if it is missing, the answer is GitLab's 400.
    pub(super) fn required(&self, name: &str) -> Result<String, Problem> {
        self.text(name)
            .ok_or_else(|| Problem::bad_request(format!("{name} is missing")))
    }

    /// A number or the like.
    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.text(name)
            .map(|text| matches!(text.as_str(), "true" | "1" | "on"))
    }

    /// A list, or a string with commas.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Value::Array(members)) => members
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            Some(Value::String(text)) => text
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|p| !p.is_empty())
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Where a call comes from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) address: String,
    pub(super) user_agent: String,
}

impl Origin {
    /// The caller; its machine's name is in `info.name`, or after the program in the `User-Agent`:
    /// `onspot 0.1.0 (i-0123)`.
    pub(super) fn caller(&self, params: &Params) -> Caller {
        let info = params
            .get("info")
            .and_then(|info| info.get("name")?.as_str());
        // Most programs put their own name there, which does not identify the machine.
        let named = info.filter(|name| !["", "gitlab-runner", "onspot"].contains(name));
        let comment = || {
            let agent = self.user_agent.strip_prefix("onspot ")?;
            agent.split_once('(')?.1.strip_suffix(')')
        };
        Caller {
            address: self.address.clone(),
            user_agent: self.user_agent.clone(),
            name: named.or_else(comment).map(str::to_owned),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let agent = parts
            .headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        Ok(Self {
            address: peer.map_or_else(String::new, |ConnectInfo(peer)| peer.ip().to_string()),
            user_agent: agent.unwrap_or_default().to_owned(),
        })
    }
}

/// The token of a person or a tool: from `PRIVATE-TOKEN`, a bearer token, or the query.
#[derive(Debug, Clone)]
pub(super) struct AccessToken(String);

impl FromRequestParts<Arc<Server>> for AccessToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Problem> {
        let header = |name: &str| parts.headers.get(name)?.to_str().ok();
        let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let given = header("private-token").or(bearer).map(str::to_owned);
        let query = Params::of_query(parts.uri.query().unwrap_or_default());
        let token = given.or_else(|| query.text("private_token"));
        let token = token.ok_or_else(Problem::unauthorized)?;
        let known = server.read(|state| {
            token == state.user_token
                || state
                    .projects
                    .values()
                    .any(|project| project.token == token)
        });
        known
            .then_some(Self(token))
            .ok_or_else(Problem::unauthorized)
    }
}

impl AccessToken {
    /// Check that it is the user's own token, not a project's.
    pub(super) fn must_be_users(&self, state: &State) -> Result<(), Problem> {
        if self.0 == state.user_token {
            Ok(())
        } else {
            Err(Problem::forbidden(""))
        }
    }

    /// The project of this number or path, if the token may see it.
    pub(super) fn project<'a>(
        &self,
        state: &'a State,
        name: &str,
    ) -> Result<&'a ProjectState, Problem> {
        state
            .project(name)
            .filter(|project| state.may_access(&self.0, project.id))
            .ok_or_else(|| Problem::not_found("Project"))
    }

    pub(super) fn may_see(&self, state: &State, project: ProjectId) -> bool {
        state.may_access(&self.0, project)
    }
}

/// The token of a runner or a job: from the parameter `token`, or this header.
pub(super) fn token(params: &Params, headers: &HeaderMap, header: &str) -> String {
    let header = headers.get(header).and_then(|value| value.to_str().ok());
    let given = params.text("token").or_else(|| header.map(str::to_owned));
    given.unwrap_or_default()
}
