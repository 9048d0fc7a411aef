//! The transport: sends the protocol's requests and retries temporary failures.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, StatusCode};
use rand::Rng as _;
use reqwest::redirect;
use url::Url;

use crate::Error;
use crate::identity::{RunnerIdentity, VERSION};
use crate::registration::{Created, NewRunner, Verified};
use crate::request::Api;
use crate::response::{self, JobPoll, PatchAnswer, UpdateAnswer};
use crate::token::{JobId, JobToken, RunnerToken, Secret};
use crate::update::JobUpdate;
use onspot_patience::Backoff;

/// How a [`Client`] reaches GitLab.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Additional CA certificates as PEM; the system's are trusted anyway.
    pub ca_pem: Option<Vec<u8>>,
    /// Timeout for establishing a connection.
    pub connect_timeout: Duration,
    /// Timeout of an ordinary request.
    pub timeout: Duration,
    /// Timeout of a request for a job: GitLab holds it open, 50 s by default.
    pub poll_timeout: Duration,
    /// How long a transfer of artifacts may stall.
    pub stall_timeout: Duration,
    /// How often an ordinary request is tried; 1 at least.
    pub attempts: u32,
    /// This machine's name, for the `User-Agent`: it tells the workers apart in GitLab's logs.
    pub machine: Option<String>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            ca_pem: None,
            connect_timeout: Duration::from_secs(30),
            timeout: Duration::from_mins(1),
            poll_timeout: Duration::from_secs(150),
            stall_timeout: Duration::from_mins(10),
            attempts: 5,
            machine: None,
        }
    }
}

/// A connection to one GitLab. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) api: Api,
    pub(crate) http: reqwest::Client,
    pub(crate) options: ClientOptions,
}

/// `onspot 0.1.0 (i-0123456789abcdef0)`.
fn user_agent(machine: Option<&str>) -> String {
    match machine {
        // A header value may only contain visible ASCII.
        Some(name) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) => {
            format!("onspot {VERSION} ({name})")
        }
        _ => format!("onspot {VERSION}"),
    }
}

/// An answer with its whole body.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// A client of the GitLab at `base`, which may have a sub-path. Sends nothing yet.
    ///
    /// # Errors
    /// [`Error::BaseUrl`], [`Error::Setup`].
    pub fn new(base: &Url) -> Result<Self, Error> {
        Self::with_options(base, ClientOptions::default())
    }

    /// A client with the given options.
    ///
    /// # Errors
    /// [`Error::BaseUrl`], [`Error::Setup`].
    pub fn with_options(base: &Url, options: ClientOptions) -> Result<Self, Error> {
        let api = Api::new(base)?;
        let mut builder = reqwest::Client::builder()
            .user_agent(user_agent(options.machine.as_deref()))
            .connect_timeout(options.connect_timeout)
            .tcp_keepalive(Duration::from_secs(30))
            // Redirects are followed by hand and only where the protocol has them: reqwest would
            // pass the token headers to any host.
            .redirect(redirect::Policy::none());
        if let Some(pem) = &options.ca_pem {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(Error::Setup)?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(Error::Setup)?;
        Ok(Self { api, http, options })
    }

    /// Checks a runner's token and tells GitLab the runner's features.
    ///
    /// # Errors
    /// [`Error::Refused`] if the token is not valid; see [`response::verified`].
    pub async fn verify(&self, runner: &RunnerIdentity) -> Result<Verified, Error> {
        let request = self.api.verify(runner)?;
        self.retry(&request, "verify the runner", response::verified)
            .await
    }

    /// Creates a runner in GitLab, with a user's access token.
    ///
    /// Tried once: a retry could create a second runner.
    ///
    /// # Errors
    /// [`Error::Refused`] if the token lacks the right; see [`response::created`].
    pub async fn create_runner(
        &self,
        access_token: &Secret,
        runner: &NewRunner,
    ) -> Result<Created, Error> {
        let request = self.api.create_runner(access_token, runner)?;
        let answer = self
            .send(&request, "create a runner", self.options.timeout)
            .await?;
        response::created(answer.status, &answer.headers, &answer.body)
    }

    /// Removes a runner from GitLab.
    ///
    /// # Errors
    /// See [`response::unregistered`].
    pub async fn unregister(&self, token: &RunnerToken) -> Result<(), Error> {
        let request = self.api.unregister(token)?;
        self.retry(&request, "remove the runner", response::unregistered)
            .await
    }

    /// Requests a job, without retries: the caller asks again anyway.
    ///
    /// # Errors
    /// See [`response::job`].
    pub async fn request_job(
        &self,
        runner: &RunnerIdentity,
        last_update: Option<&str>,
    ) -> Result<JobPoll, Error> {
        let request = self.api.request_job(runner, last_update)?;
        let answer = self
            .send(&request, "hand out a job", self.options.poll_timeout)
            .await?;
        response::job(answer.status, &answer.headers, &answer.body)
    }

    /// Reports a job's state, without retries; see [`report_result`](crate::report_result).
    ///
    /// # Errors
    /// See [`response::update`].
    pub async fn update_job(
        &self,
        job: JobId,
        token: &JobToken,
        update: &JobUpdate,
    ) -> Result<UpdateAnswer, Error> {
        let request = self.api.update_job(job, token, update)?;
        let answer = self
            .send(&request, "take the job's state", self.options.timeout)
            .await?;
        response::update(answer.status, &answer.headers, &answer.body)
    }

    /// Appends to a trace, without retries; see [`TraceSession`](crate::TraceSession).
    ///
    /// # Errors
    /// See [`response::patch`].
    pub async fn patch_trace(
        &self,
        job: JobId,
        token: &JobToken,
        start: u64,
        content: &[u8],
        debug: bool,
    ) -> Result<PatchAnswer, Error> {
        let request = self.api.patch_trace(job, token, start, content, debug)?;
        let answer = self
            .send(&request, "take a piece of the trace", self.options.timeout)
            .await?;
        response::patch(answer.status, &answer.headers, &answer.body)
    }

    /// Sends a request until its answer is final or the attempts are used up.
    pub(crate) async fn retry<T>(
        &self,
        request: &Request<Vec<u8>>,
        what: &'static str,
        read: impl Fn(StatusCode, &HeaderMap, &[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut backoff = between_requests();
        for _ in 1..self.options.attempts {
            let result = match self.send(request, what, self.options.timeout).await {
                Ok(answer) => read(answer.status, &answer.headers, &answer.body),
                Err(error) => Err(error),
            };
            match result {
                Err(error) if error.is_transient() => {
                    let wait = backoff.pause_as(error.retry_after());
                    tracing::warn!(%error, ?wait, "trying again");
                    tokio::time::sleep(wait).await;
                }
                result => return result,
            }
        }
        let answer = self.send(request, what, self.options.timeout).await?;
        read(answer.status, &answer.headers, &answer.body)
    }

    /// Sends a request once and reads the whole answer.
    async fn send(
        &self,
        request: &Request<Vec<u8>>,
        what: &'static str,
        timeout: Duration,
    ) -> Result<Answer, Error> {
        let mut request =
            reqwest::Request::try_from(request.clone()).map_err(|e| self.unreachable(what, e))?;
        request.headers_mut().insert("x-request-id", request_id());
        *request.timeout_mut() = Some(timeout);
        let answer = self
            .http
            .execute(request)
            .await
            .map_err(|e| self.unreachable(what, e))?;
        self.read(answer, what).await
    }

    /// Reads the whole answer.
    pub(crate) async fn read(
        &self,
        answer: reqwest::Response,
        what: &'static str,
    ) -> Result<Answer, Error> {
        let status = answer.status();
        let headers = answer.headers().clone();
        let body = answer
            .bytes()
            .await
            .map_err(|e| self.unreachable(what, e))?
            .to_vec();
        tracing::trace!(%status, what, "GitLab answered");
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    pub(crate) fn unreachable(&self, what: &'static str, source: reqwest::Error) -> Error {
        Error::Unreachable {
            what,
            host: self.api.host().to_owned(),
            // A redirect's URL may contain a signature.
            source: source.without_url(),
        }
    }
}

/// A new id that identifies a request in GitLab's logs.
pub(crate) fn request_id() -> HeaderValue {
    let id = format!("{:032x}", rand::rng().random::<u128>());
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("onspot"))
}

/// Pauses between tries of an ordinary request, as in GitLab Runner: 100 ms to 60 s.
pub(crate) fn between_requests() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_mins(1))
}
