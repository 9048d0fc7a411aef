//! Injected faults: a test chooses which calls fail, and how.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

/// Which calls fail, how often, and how.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Only calls with this method.
    pub method: Option<Method>,
    /// Only calls whose path contains this text. Empty: all.
    pub path_contains: String,
    /// How many calls it applies to.
    pub times: usize,
    /// What happens to them.
    pub action: FaultAction,
}

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultAction {
    /// The call is not processed; the answer is this status with these headers.
    Answer {
        /// The HTTP status.
        status: u16,
        /// E.g. `Retry-After`.
        headers: Vec<(String, String)>,
    },
    /// The call is processed after this delay.
    Delay(Duration),
    /// The call is processed, but its answer is lost: the caller gets 502.
    LoseAnswer,
}

impl Fault {
    /// Answer calls to a path with a status.
    pub fn answer(path_contains: impl Into<String>, status: u16, times: usize) -> Self {
        let action = FaultAction::Answer {
            status,
            headers: Vec::new(),
        };
        Self {
            method: None,
            path_contains: path_contains.into(),
            times,
            action,
        }
    }

    /// Delay calls to a path.
    pub fn delay(path_contains: impl Into<String>, by: Duration, times: usize) -> Self {
        Self {
            action: FaultAction::Delay(by),
            ..Self::answer(path_contains, 0, times)
        }
    }

    /// Process calls to a path, and lose the answers.
    pub fn lose_answer(path_contains: impl Into<String>, times: usize) -> Self {
        Self {
            action: FaultAction::LoseAnswer,
            ..Self::answer(path_contains, 0, times)
        }
    }

    /// Only calls with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    fn is_for(&self, method: &Method, path: &str) -> bool {
        self.times > 0
            && self.method.as_ref().is_none_or(|wanted| wanted == method)
            && path.contains(&self.path_contains)
    }
}

/// The pending faults.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.0.lock().push(fault);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// The fault for this call, which is counted.
    fn take(&self, method: &Method, path: &str) -> Option<FaultAction> {
        let mut faults = self.0.lock();
        let fault = faults.iter_mut().find(|fault| fault.is_for(method, path))?;
        fault.times -= 1;
        let action = fault.action.clone();
        faults.retain(|fault| fault.times > 0);
        Some(action)
    }
}

/// Apply the faults to a call.
pub(crate) async fn layer(
    Shared(faults): Shared<Arc<Faults>>,
    request: Request,
    next: Next,
) -> Response {
    match faults.take(request.method(), request.uri().path()) {
        None => next.run(request).await,
        Some(FaultAction::Delay(by)) => {
            tokio::time::sleep(by).await;
            next.run(request).await
        }
        Some(FaultAction::LoseAnswer) => {
            drop(next.run(request).await);
            StatusCode::BAD_GATEWAY.into_response()
        }
        Some(FaultAction::Answer { status, headers }) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response
                .body(Body::empty())
                .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    }
}
