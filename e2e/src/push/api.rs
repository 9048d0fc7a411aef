//! The few calls of GitLab's REST API that are needed to follow a pipeline.

use std::time::{Duration, Instant};

use serde_json::Value;
use url::Url;

use super::error::PushError;

/// How often the jobs are polled.
pub(super) const POLL: Duration = Duration::from_millis(300);
/// A pipeline is created before `git push` ends, so this only matters for slow servers.
const PIPELINE_APPEARS: Duration = Duration::from_secs(10);
/// How long an unreachable GitLab is retried.
const PATIENCE: Duration = Duration::from_secs(30);

/// The REST API of a GitLab.
pub(super) struct Api {
    client: reqwest::Client,
    base: Url,
    token: String,
}

impl Api {
    pub(super) fn new(base: &Url, token: String) -> Result<Self, PushError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build();
        let client = client.map_err(|source| PushError::Api {
            what: "anything".to_owned(),
            source,
        })?;
        Ok(Self {
            client,
            base: base.clone(),
            token,
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Vec<u8>, PushError> {
        let began = Instant::now();
        loop {
            match self.try_get(path).await {
                Ok(body) => return Ok(body),
                Err(source) if began.elapsed() > PATIENCE || source.is_status() => {
                    return Err(PushError::Api {
                        what: path.to_owned(),
                        source,
                    });
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    async fn try_get(&self, path: &str) -> Result<Vec<u8>, reqwest::Error> {
        let url = format!("{}/api/v4/{path}", self.base.as_str().trim_end_matches('/'));
        let request = self.client.get(url).header("PRIVATE-TOKEN", &self.token);
        Ok(request
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?
            .to_vec())
    }

    pub(super) async fn json(&self, path: &str) -> Result<Value, PushError> {
        let body = self.get(path).await?;
        serde_json::from_slice(&body).map_err(|_| PushError::Answer {
            what: path.to_owned(),
        })
    }

    pub(super) async fn pipeline_of(&self, project: &str, sha: &str) -> Result<u64, PushError> {
        let path = format!("projects/{project}/pipelines?sha={sha}");
        let began = Instant::now();
        loop {
            let found = self.json(&path).await?;
            if let Some(id) = found
                .get(0)
                .and_then(|pipeline| pipeline.get("id")?.as_u64())
            {
                return Ok(id);
            }
            if began.elapsed() > PIPELINE_APPEARS {
                return Err(PushError::NoPipeline(sha.to_owned()));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
