//! The proxy's handler: checks, forwards and records a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, StatusCode, Uri, header, request::Parts};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::operation::Operation;
use super::payload::{self, Hashed};
use super::record::{Call, Calls};
use super::sigv4::{self, Refusal, Signed, UNSIGNED_PAYLOAD};
use super::{Credentials, Principal};

/// The largest body of a call that is not S3's: these are small, and must be read to be checked.
const SMALL_BODY: usize = 16 << 20;

/// Headers of a single connection, which are not forwarded.
const HOP_BY_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::UPGRADE,
];

/// The handler's state.
pub(super) struct Proxy {
    upstream: String,
    client: Client<HttpConnector, Body>,
    credentials: Credentials,
    calls: Calls,
}

impl Proxy {
    pub(super) fn new(upstream: String, credentials: Credentials, calls: Calls) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            upstream,
            client,
            credentials,
            calls,
        }
    }
}

/// The application: the handler gets every request.
pub(super) fn app(proxy: Arc<Proxy>) -> Router {
    Router::new().fallback(handle).with_state(proxy)
}

async fn handle(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let at = Timestamp::now();
    let begin = Instant::now();
    let (head, body) = request.into_parts();
    let mut call = Call {
        at,
        principal: Principal::Unknown,
        service: "?".to_owned(),
        action: "?".to_owned(),
        resource: String::new(),
        status: 0,
        refused: None,
        took: std::time::Duration::ZERO,
    };
    let response = match proxy.checked(&head, body, &mut call).await {
        Ok((body, mismatch)) => proxy.pass_on(&head, body, &mismatch, &mut call).await,
        Err(refusal) => {
            call.refused = Some(refusal.code(&call.service).to_owned());
            refusal.response(&call.service, &head.headers)
        }
    };
    call.status = response.status().as_u16();
    call.took = begin.elapsed();
    tracing::debug!(%call, "aws");
    proxy.calls.push(call);
    response
}

impl Proxy {
    /// Checks the signature and identifies the call. The body is returned for forwarding; the flag
    /// tells afterwards whether it differed from the signed one.
    async fn checked(
        &self,
        head: &Parts,
        body: Body,
        call: &mut Call,
    ) -> Result<(Body, Arc<AtomicBool>), Refusal> {
        let view = sigv4::Request {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
        };
        let signed = Signed::find(&view).inspect_err(|_| {
            call.action = format!("{} {}", head.method, head.uri.path());
        })?;
        let announced = header_text(&head.headers, "x-amz-content-sha256");
        let (body, form, hash, mismatch) = if signed.service == "s3" {
            let hash = announced.unwrap_or(UNSIGNED_PAYLOAD).to_owned();
            let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            let (body, mismatch) = if is_hash {
                Hashed::wrap(body, &hash)
            } else {
                (body, Arc::default())
            };
            (body, bytes::Bytes::default(), hash, mismatch)
        } else {
            let bytes = payload::read(body, SMALL_BODY)
                .await
                .map_err(|_| Refusal::IncompleteSignature)?;
            let hash = hex::encode(Sha256::digest(&bytes));
            (Body::from(bytes.clone()), bytes, hash, Arc::default())
        };
        let operation = Operation::of(
            &signed.service,
            &head.method,
            view.path,
            view.query,
            &head.headers,
            &form,
        );
        call.service = operation.service;
        call.action = operation.action;
        call.resource = operation.resource;
        let owner = signed.check(&view, &hash, &self.credentials, call.at)?;
        call.principal = owner.principal;
        Ok((body, mismatch))
    }

    async fn pass_on(
        &self,
        head: &Parts,
        body: Body,
        mismatch: &AtomicBool,
        call: &mut Call,
    ) -> Response {
        let answer = match self.upstream_request(head, body) {
            Ok(request) => self
                .client
                .request(request)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(answer) => {
                let (mut head, body) = answer.into_parts();
                for name in &HOP_BY_HOP {
                    head.headers.remove(name);
                }
                head.headers.remove(header::TRANSFER_ENCODING);
                Response::from_parts(head, Body::new(body))
            }
            Err(_) if mismatch.load(Ordering::SeqCst) => {
                let refusal = Refusal::PayloadHashMismatch;
                call.refused = Some(refusal.code(&call.service).to_owned());
                refusal.response(&call.service, &head.headers)
            }
            Err(error) => {
                tracing::warn!(%error, service = call.service, action = call.action,
                    "LocalStack did not answer");
                (StatusCode::SERVICE_UNAVAILABLE, error).into_response()
            }
        }
    }

    /// The same request to LocalStack; the `Host` header is kept.
    fn upstream_request(
        &self,
        head: &Parts,
        body: Body,
    ) -> Result<http::Request<Body>, http::Error> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.upstream.as_str())
            .path_and_query(path)
            .build()?;
        let mut request = http::Request::builder()
            .method(head.method.clone())
            .uri(uri)
            .body(body)?;
        *request.headers_mut() = head.headers.clone();
        for name in &HOP_BY_HOP {
            request.headers_mut().remove(name);
        }
        Ok(request)
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
