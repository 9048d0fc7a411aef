//! The instance's own metadata, by version 2 of the protocol: first a token, then requests with it.
//!
//! Paths and formats are those of the EC2 user guide ("Instance metadata categories", "Spot
//! Instance interruption notices").

use std::time::Duration;

use jiff::Timestamp;
use onspot_ledger::Interruption;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

/// Where the metadata service is on every instance.
pub const IMDS_URL: &str = "http://169.254.169.254/";

/// The requested lifetime of a token: 6 h, the longest possible.
const TOKEN_TTL_SECONDS: &str = "21600";
/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Why the metadata service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ImdsError {
    /// It could not be reached, or the answer broke off.
    #[error("no answer from the instance metadata service about {what}")]
    Unreachable {
        /// What it was asked for.
        what: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It answered with an unexpected status.
    #[error("the instance metadata service answered {status} when asked for {what}")]
    Status {
        /// What it was asked for.
        what: &'static str,
        /// The answer's status.
        status: StatusCode,
    },
    /// Its answer can't be read.
    #[error("the instance metadata service's answer about {what} can't be read")]
    Answer {
        /// What it was asked for.
        what: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

impl ImdsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some("this verb runs on an EC2 instance with IMDSv2; elsewhere use `onspot run`".to_owned())
    }
}

/// The metadata service of this instance.
#[derive(Debug, Clone)]
pub struct Imds {
    root: Url,
    http: reqwest::Client,
}

/// The notice at `spot/instance-action`.
#[derive(Debug, Deserialize)]
struct Notice {
    action: String,
    time: Timestamp,
}

impl Imds {
    /// The service at `root`, which is [`IMDS_URL`] on an instance.
    pub fn new(root: Url) -> Self {
        Self {
            root,
            http: reqwest::Client::new(),
        }
    }

    /// The instance's id.
    ///
    /// # Errors
    ///
    /// [`ImdsError`] if the service can't be reached or does not answer with an id.
    pub async fn instance_id(&self) -> Result<String, ImdsError> {
        self.required("the instance's id", "latest/meta-data/instance-id")
            .await
    }

    /// The availability zone the instance is in.
    ///
    /// # Errors
    ///
    /// [`ImdsError`] if the service can't be reached or does not answer with a zone.
    pub async fn zone(&self) -> Result<String, ImdsError> {
        self.required("the zone", "latest/meta-data/placement/availability-zone")
            .await
    }

    /// The notice that this spot instance will be taken away, if there is one.
    ///
    /// # Errors
    ///
    /// [`ImdsError`] if the service can't be reached or its notice can't be read.
    pub async fn interruption(&self) -> Result<Option<Interruption>, ImdsError> {
        let what = "an interruption";
        let Some(text) = self
            .get(what, "latest/meta-data/spot/instance-action")
            .await?
        else {
            return Ok(None);
        };
        let notice: Notice =
            serde_json::from_str(&text).map_err(|source| ImdsError::Answer { what, source })?;
        Ok(Some(Interruption {
            action: notice.action,
            at: notice.time,
        }))
    }

    async fn required(&self, what: &'static str, path: &str) -> Result<String, ImdsError> {
        let status = StatusCode::NOT_FOUND;
        self.get(what, path)
            .await?
            .ok_or(ImdsError::Status { what, status })
    }

    async fn get(&self, what: &'static str, path: &str) -> Result<Option<String>, ImdsError> {
        let token = self
            .send(what, Method::PUT, "latest/api/token", |request| {
                request.header("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_SECONDS)
            })
            .await?;
        let Some(token) = token else {
            return Err(ImdsError::Status {
                what,
                status: StatusCode::NOT_FOUND,
            });
        };
        self.send(what, Method::GET, path, |request| {
            request.header("x-aws-ec2-metadata-token", token)
        })
        .await
    }

    /// `None` means 404.
    async fn send(
        &self,
        what: &'static str,
        method: Method,
        path: &str,
        with: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<Option<String>, ImdsError> {
        let unreachable = |source: reqwest::Error| ImdsError::Unreachable { what, source };
        let mut url = self.root.clone();
        url.set_path(path);
        let request = with(self.http.request(method, url)).timeout(LIMIT);
        let answer = request.send().await.map_err(unreachable)?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(answer.text().await.map_err(unreachable)?)),
            status => Err(ImdsError::Status { what, status }),
        }
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn imds(route: &str, answer: ResponseTemplate) -> (MockServer, Imds) {
        let server = MockServer::start().await;
        Mock::given(method("PUT"))
            .and(path("/latest/api/token"))
            .and(header("x-aws-ec2-metadata-token-ttl-seconds", "21600"))
            .respond_with(ResponseTemplate::new(200).set_body_string("t0ken"))
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .and(path(route))
            .and(header("x-aws-ec2-metadata-token", "t0ken"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let imds = Imds::new(server.uri().parse().unwrap());
        (server, imds)
    }

    #[tokio::test]
    async fn questions_are_asked_with_a_token() {
        let answer = ResponseTemplate::new(200).set_body_string("i-0123");
        let (_server, imds) = imds("/latest/meta-data/instance-id", answer).await;
        assert_eq!(imds.instance_id().await.unwrap(), "i-0123");
        let error = imds.zone().await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("404 Not Found when asked for the zone"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_notice_is_read_and_its_absence_is_no_error() {
        let notice = r#"{"action": "terminate", "time": "2026-11-24T08:22:00Z"}"#;
        let answer = ResponseTemplate::new(200).set_body_string(notice);
        let route = "/latest/meta-data/spot/instance-action";
        let (_server, told) = imds(route, answer).await;
        let notice = told.interruption().await.unwrap().unwrap();
        assert_eq!(notice.action, "terminate");
        assert_eq!(notice.at.to_string(), "2026-11-24T08:22:00Z");
        let (_server, quiet) = imds(route, ResponseTemplate::new(404)).await;
        assert!(quiet.interruption().await.unwrap().is_none());
    }
}
