//! A guest's own instance metadata service, version 2: every request needs a token.

mod documents;

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use documents::{Documents, Notice};

use super::ec2::{Ec2, Role};
use crate::cloud::{Credential, Credentials};
use crate::{Error, Result};

/// Credentials are renewed when less than this time is left.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_mins(10);

/// The service of one guest; it ends when this is dropped.
#[derive(Debug)]
pub struct Imds {
    address: SocketAddr,
    service: Arc<Service>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Service {
    documents: Documents,
    role: Option<Role>,
    ec2: Ec2,
    credentials: Credentials,
    handed_out: tokio::sync::Mutex<Option<(Credential, Timestamp)>>,
    notice: Mutex<Option<Notice>>,
    tokens: Mutex<HashMap<String, Instant>>,
}

impl Imds {
    /// Serves on a free port of `gateway`. The role's credentials are registered in `credentials`
    /// when the guest requests them.
    pub async fn serve(
        gateway: IpAddr,
        documents: Documents,
        role: Option<Role>,
        ec2: Ec2,
        credentials: Credentials,
    ) -> Result<Self> {
        let what = || format!("listen on {gateway} for a guest's metadata");
        let listener = tokio::net::TcpListener::bind((gateway, 0))
            .await
            .map_err(Error::io(what()))?;
        let address = listener.local_addr().map_err(Error::io(what()))?;
        let service = Arc::new(Service {
            documents,
            role,
            ec2,
            credentials,
            handed_out: tokio::sync::Mutex::default(),
            notice: Mutex::default(),
            tokens: Mutex::default(),
        });
        let app = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&service));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                _ = axum::serve(listener, app).into_future() => {}
            }
        });
        Ok(Self {
            address,
            service,
            _stop: stop.drop_guard(),
        })
    }

    /// The address it listens on: the target of the guest's DNAT rule.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `spot/instance-action` announces the interruption.
    pub fn announce(&self, notice: Notice) {
        *self.service.notice.lock() = Some(notice);
    }
}

async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let path = request.uri().path();
    if request.method() == Method::PUT {
        return service.token(path, request.headers());
    }
    if !service.has_token(request.headers()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match service.answer(path).await {
        Some(body) => body.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Service {
    fn token(&self, path: &str, headers: &HeaderMap) -> Response {
        let seconds = headers
            .get("x-aws-ec2-metadata-token-ttl-seconds")
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
            .filter(|seconds| (1..=21_600).contains(seconds));
        let (Some(seconds), true) = (seconds, path == "/latest/api/token") else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let token = uuid::Uuid::new_v4().simple().to_string();
        self.tokens
            .lock()
            .insert(token.clone(), Instant::now() + Duration::from_secs(seconds));
        (
            [("x-aws-ec2-metadata-token-ttl-seconds", seconds.to_string())],
            token,
        )
            .into_response()
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let token = headers
            .get("x-aws-ec2-metadata-token")
            .and_then(|value| value.to_str().ok());
        token.is_some_and(|token| {
            self.tokens
                .lock()
                .get(token)
                .is_some_and(|until| *until > Instant::now())
        })
    }

    async fn answer(&self, path: &str) -> Option<Vec<u8>> {
        if let Some(role) = &self.role
            && let Some(name) = path.split("/meta-data/iam/security-credentials/").nth(1)
            && name == role.name
        {
            return match self.role_credentials(role).await {
                Ok(document) => Some(document),
                Err(error) => {
                    tracing::warn!(error = crate::chain(&error), "no credentials for a guest");
                    None
                }
            };
        }
        let notice = self.notice.lock().clone();
        self.documents
            .answer(path, self.role.as_ref(), notice.as_ref())
    }

    async fn role_credentials(&self, role: &Role) -> Result<Vec<u8>> {
        let mut handed_out = self.handed_out.lock().await;
        let now = Timestamp::now();
        let fresh = handed_out.as_ref().is_some_and(|(credential, _)| {
            credential
                .expires
                .is_none_or(|end| end.duration_since(now) > RENEW_BEFORE)
        });
        if !fresh {
            let credential = self.ec2.assume(role, self.documents.instance_id()).await?;
            self.credentials.add(credential.clone());
            *handed_out = Some((credential, now));
        }
        let Some((credential, since)) = handed_out.as_ref() else {
            return Ok(Vec::new());
        };
        Ok(documents::credentials(credential, *since))
    }
}
