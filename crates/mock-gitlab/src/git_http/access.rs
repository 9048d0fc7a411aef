//! Who may do what with a repository.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;

use crate::ids::ProjectId;
use crate::server::Server;
use crate::state::State;

/// What a token may do with a repository.
pub(super) enum Access {
    /// May push.
    Write,
    /// A running job, or a token that may only read.
    Read,
}

pub(super) fn access(state: &State, token: &str, project: ProjectId) -> Option<Access> {
    if state.may_access(token, project) {
        return Some(Access::Write);
    }
    let job = state.job_by_token(token)?;
    let allowlist = &state.projects.get(&project)?.job_token_allowlist;
    let is_allowed = job.project == project || allowlist.contains(&job.project);
    is_allowed.then_some(Access::Read)
}

/// The project of that path, if the request's token may read it.
pub(crate) fn readable(server: &Server, path: &str, headers: &HeaderMap) -> Option<ProjectId> {
    let token = basic_password(headers)?;
    server.read(|state| {
        let id = state.project(path)?.id;
        access(state, &token, id).map(|_| id)
    })
}

pub(crate) fn unauthorized() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"GitLab\"")];
    (
        StatusCode::UNAUTHORIZED,
        challenge,
        "HTTP Basic: Access denied\n",
    )
        .into_response()
}

/// The password of basic authentication: a token; the user name is ignored.
pub(super) fn basic_password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let encoded = value
        .strip_prefix("Basic ")
        .or_else(|| value.strip_prefix("basic "))?;
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    Some(text.split_once(':')?.1.to_owned())
}
