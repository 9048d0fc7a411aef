//! The requests of the protocol as data.
//!
//! Each function returns the whole request except for what the transport adds: the user agent and
//! the request id.
//!
//! Source: `network/gitlab.go` of GitLab Runner 19.4, and GitLab's REST API for `user/runners`.

use http::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use serde_json::{Value, json};
use url::Url;

use crate::Error;
use crate::identity::RunnerIdentity;
use crate::registration::{NewRunner, RunnerScope};
use crate::token::{JobId, JobToken, RunnerToken, Secret};
use crate::update::JobUpdate;

const RUNNER_TOKEN: &str = "runner-token";
const JOB_TOKEN: &str = "job-token";
const PRIVATE_TOKEN: &str = "private-token";

/// GitLab's API at one address: builds the requests of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Ends in `/api/v4/`.
    root: Url,
}

impl Api {
    /// The API of the GitLab at `base`, which may have a sub-path. A trailing `/ci`, as in old
    /// configurations, is dropped.
    ///
    /// # Errors
    /// [`Error::BaseUrl`] if it is neither `http` nor `https`.
    pub fn new(base: &Url) -> Result<Self, Error> {
        let bad = || Error::BaseUrl {
            url: base.as_str().to_owned(),
        };
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(bad());
        }
        let path = base.path().trim_end_matches('/');
        let path = path.strip_suffix("/ci").unwrap_or(path);
        let mut root = base.clone();
        root.set_path(&format!("{path}/api/v4/"));
        root.set_query(None);
        root.set_fragment(None);
        Ok(Self { root })
    }

    /// GitLab's host name, for messages.
    pub fn host(&self) -> &str {
        self.root.host_str().unwrap_or_default()
    }

    /// Scheme, host and port of GitLab, which may receive tokens.
    pub(crate) fn origin(&self) -> url::Origin {
        self.root.origin()
    }

    /// Checks a runner's token and tells GitLab the runner's features.
    ///
    /// GitLab keeps the first description for 40 minutes or more, so it has to be complete: without
    /// `cancel_gracefully` GitLab would cancel jobs without their `after_script`.
    ///
    /// # Errors
    /// [`Error::Request`] if the token cannot be sent in a header.
    pub fn verify(&self, runner: &RunnerIdentity) -> Result<Request<Vec<u8>>, Error> {
        let body = json!({
            "token": runner.token,
            "system_id": runner.system_id,
            "info": runner.info,
        });
        self.json(
            Method::POST,
            "runners/verify",
            (RUNNER_TOKEN, runner.token.expose()),
            &body,
        )
    }

    /// Removes a runner from GitLab.
    ///
    /// # Errors
    /// [`Error::Request`] if the token cannot be sent in a header.
    pub fn unregister(&self, token: &RunnerToken) -> Result<Request<Vec<u8>>, Error> {
        let body = json!({ "token": token });
        self.json(
            Method::DELETE,
            "runners",
            (RUNNER_TOKEN, token.expose()),
            &body,
        )
    }

    /// Creates a runner.
    ///
    /// # Errors
    /// [`Error::Request`] if the token cannot be sent in a header.
    pub fn create_runner(
        &self,
        access_token: &Secret,
        runner: &NewRunner,
    ) -> Result<Request<Vec<u8>>, Error> {
        let (kind, owner) = match runner.scope {
            RunnerScope::Instance => ("instance_type", None),
            RunnerScope::Group(id) => ("group_type", Some(("group_id", id))),
            RunnerScope::Project(id) => ("project_type", Some(("project_id", id))),
        };
        let mut body = json!({
            "runner_type": kind,
            "description": runner.description,
            "tag_list": runner.tags,
            "run_untagged": runner.run_untagged,
        });
        if let Some((key, id)) = owner {
            body[key] = Value::from(id);
        }
        if let Some(seconds) = runner.maximum_timeout {
            body["maximum_timeout"] = Value::from(seconds);
        }
        self.json(
            Method::POST,
            "user/runners",
            (PRIVATE_TOKEN, access_token.expose()),
            &body,
        )
    }

    /// Requests a job. `last_update` is GitLab's last `X-GitLab-Last-Update`: with it GitLab holds
    /// the request open until something has changed, 50 seconds by default.
    ///
    /// # Errors
    /// [`Error::Request`] if the token cannot be sent in a header.
    pub fn request_job(
        &self,
        runner: &RunnerIdentity,
        last_update: Option<&str>,
    ) -> Result<Request<Vec<u8>>, Error> {
        let mut body = json!({
            "info": runner.info,
            "token": runner.token,
            "system_id": runner.system_id,
        });
        if let Some(last_update) = last_update {
            body["last_update"] = Value::from(last_update);
        }
        self.json(
            Method::POST,
            "jobs/request",
            (RUNNER_TOKEN, runner.token.expose()),
            &body,
        )
    }

    /// Reports a job's state.
    ///
    /// # Errors
    /// [`Error::Request`] if the token cannot be sent in a header.
    pub fn update_job(
        &self,
        job: JobId,
        token: &JobToken,
        update: &JobUpdate,
    ) -> Result<Request<Vec<u8>>, Error> {
        let mut body = json!({ "token": token, "state": update.state });
        if let Some(reason) = update.failure_reason {
            body["failure_reason"] = Value::from(reason.as_str());
        }
        if let Some(trace) = update.trace {
            body["output"] = json!({ "bytesize": trace.bytes });
            if let Some(crc) = trace.crc32 {
                body["output"]["checksum"] = Value::from(format!("crc32:{crc:08x}"));
            }
        }
        if let Some(code) = update.exit_code {
            body["exit_code"] = Value::from(code);
        }
        self.json(
            Method::PUT,
            &format!("jobs/{job}"),
            (JOB_TOKEN, token.expose()),
            &body,
        )
    }

    /// Appends to a job's trace: `content` belongs at byte `start`.
    ///
    /// An empty `content` changes nothing and makes GitLab return the trace's length. `debug` says
    /// that the trace shows what debugging shows: GitLab then lets only developers read it.
    ///
    /// # Errors
    /// [`Error::Request`] if the token cannot be sent in a header.
    pub fn patch_trace(
        &self,
        job: JobId,
        token: &JobToken,
        start: u64,
        content: &[u8],
        debug: bool,
    ) -> Result<Request<Vec<u8>>, Error> {
        // Unlike in HTTP, the end is inclusive and there is no unit; GitLab reads only the start.
        let end = (start + content.len() as u64).saturating_sub(1).max(start);
        self.builder(
            Method::PATCH,
            &format!("jobs/{job}/trace?debug_trace={debug}"),
        )
        .header(JOB_TOKEN, hidden(token.expose())?)
        .header(CONTENT_TYPE, "text/plain")
        .header(CONTENT_RANGE, format!("{start}-{end}"))
        .body(content.to_vec())
        .map_err(Error::Request)
    }

    /// Downloads a job's archive of artifacts. With `direct` GitLab may redirect to the object
    /// storage.
    ///
    /// # Errors
    /// [`Error::Request`] if the token cannot be sent in a header.
    pub fn download_artifact(
        &self,
        job: JobId,
        token: &JobToken,
        direct: bool,
    ) -> Result<Request<Vec<u8>>, Error> {
        let query = if direct { "?direct_download=true" } else { "" };
        self.builder(Method::GET, &format!("jobs/{job}/artifacts{query}"))
            .header(JOB_TOKEN, hidden(token.expose())?)
            .body(Vec::new())
            .map_err(Error::Request)
    }

    /// The head of an upload of artifacts: its body is a form, which the transport streams.
    ///
    /// # Errors
    /// [`Error::Request`] if the token cannot be sent in a header.
    pub fn upload_artifact(
        &self,
        job: JobId,
        token: &JobToken,
        upload: &ArtifactUpload,
    ) -> Result<Request<Vec<u8>>, Error> {
        let mut url = self.url(&format!("jobs/{job}/artifacts"));
        {
            let mut query = url.query_pairs_mut();
            if !upload.expire_in.is_empty() {
                query.append_pair("expire_in", &upload.expire_in);
            }
            query.append_pair("artifact_format", &upload.format);
            query.append_pair("artifact_type", &upload.kind);
        }
        Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(JOB_TOKEN, hidden(token.expose())?)
            .body(Vec::new())
            .map_err(Error::Request)
    }

    fn json(
        &self,
        method: Method,
        path: &str,
        (header, token): (&str, &str),
        body: &Value,
    ) -> Result<Request<Vec<u8>>, Error> {
        self.builder(method, path)
            .header(header, hidden(token)?)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(body.to_string().into_bytes())
            .map_err(Error::Request)
    }

    fn builder(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(self.url(path).as_str())
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.root.clone();
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(p, q)| (p, Some(q)));
        url.set_path(&format!("{}{path}", self.root.path()));
        url.set_query(query);
        url
    }
}

/// A header value hidden in debug output.
fn hidden(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(token).map_err(|e| Error::Request(e.into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An artifact to upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactUpload {
    /// The file's name in GitLab, such as `artifacts.zip`.
    pub name: String,
    /// How it is packed: `zip`, `gzip` or `raw`.
    pub format: String,
    /// What it is: `archive`, or a kind of report such as `junit`.
    pub kind: String,
    /// How long GitLab keeps it, in GitLab's syntax; empty means its default.
    pub expire_in: String,
}
