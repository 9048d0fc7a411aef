//! Refusals, with the bodies of GitLab's API.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A call that was refused or failed.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    message: String,
    headers: Vec<(&'static str, String)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            headers: Vec::new(),
        }
    }

    /// 401: no token, or an unknown one.
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "401 Unauthorized")
    }

    /// 403, with a reason if there is one.
    pub(crate) fn forbidden(reason: &str) -> Self {
        let dash = if reason.is_empty() { "" } else { " - " };
        Self::new(
            StatusCode::FORBIDDEN,
            format!("403 Forbidden{dash}{reason}"),
        )
    }

    /// 404 of a kind of thing.
    pub(crate) fn not_found(what: &str) -> Self {
        let gap = if what.is_empty() { "" } else { " " };
        Self::new(StatusCode::NOT_FOUND, format!("404 {what}{gap}Not Found"))
    }

    /// 400 with the problem.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 500: the server's own fault.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "call failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "500 Internal Server Error",
        )
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({ "message": self.message }));
        let mut response = (self.status, body).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
