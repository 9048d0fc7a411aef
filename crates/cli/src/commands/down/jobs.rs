//! Ends the jobs of a stack that is removed: reports them to GitLab.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use onspot_gitlab::{Client as GitLab, JobPayload, Variables};
use onspot_ledger::{Error, Ledger, ManagerId, RunnerName};
use onspot_runner::Clock;
use onspot_runner::coordinator::{Coordinator, GitLabJobs};
use onspot_runner::leader::Settling;
use onspot_settings::Runner;
use onspot_stack::{JobsEnd, JobsEnded};
use url::Url;

/// What a job's trace says when its stack goes.
const WHY: &str = "its stack was taken down by `onspot down`";

/// The connections to GitLab, and the time limit.
#[derive(Debug, Clone)]
pub(super) struct Jobs {
    /// The address of GitLab by runner, as seen from here; the one that a job names itself is
    /// taken for others.
    pub(super) gitlabs: BTreeMap<String, Url>,
    /// Time limit for reporting all jobs.
    pub(super) limit: Duration,
}

impl JobsEnd for Jobs {
    fn end<'a>(&'a self, ledger: &'a dyn Ledger) -> BoxFuture<'a, Result<JobsEnded, Error>> {
        async move {
            let settling = Settling {
                ledger,
                clock: Clock::system(),
                me: ManagerId::random("down"),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                why: WHY.to_owned(),
                limit: self.limit,
            };
            let coordinators =
                |runner: &RunnerName, job: &JobPayload| self.coordinator(runner, job);
            let settled = settling.settle(&coordinators).await?;
            Ok(JobsEnded {
                told: settled.told.len(),
                untold: settled.untold.iter().map(ToString::to_string).collect(),
            })
        }
        .boxed()
    }
}

impl Jobs {
    /// The connection to report a job: the runner's GitLab at its address from here, otherwise at
    /// the address that GitLab itself put into the job.
    fn coordinator(&self, runner: &RunnerName, job: &JobPayload) -> Option<Arc<dyn Coordinator>> {
        let own = || {
            let url = Variables::of(job).get("CI_SERVER_URL")?.to_owned();
            Url::parse(&url).ok()
        };
        let url = self.gitlabs.get(runner.as_str()).cloned().or_else(own)?;
        let client = GitLab::new(&url).ok()?;
        Some(Arc::new(GitLabJobs::new(
            client,
            Runner::without_gitlab("down"),
        )))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onspot_ledger::{
        JobKey, JobLabel, JobPayload as RawPayload, Key, MemoryLedger, Record, Restart, create,
    };
    use wiremock::matchers::{method, path_regex};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn a_job_that_still_runs_ends_in_gitlab() {
        let gitlab = MockServer::start().await;
        Mock::given(method("PATCH"))
            .respond_with(ResponseTemplate::new(202))
            .mount(&gitlab)
            .await;
        Mock::given(method("PUT"))
            .and(path_regex("/api/v4/jobs/7$"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&gitlab)
            .await;
        let ledger = MemoryLedger::new();
        let job = JobKey::new(&RunnerName::new("a"), 7);
        let raw = serde_json::json!({
            "id": 7,
            "token": "token-7",
            "variables": [{"key": "CI_SERVER_URL", "value": gitlab.uri()}],
        });
        let payload = create(&ledger, &Key::job_payload(&job), RawPayload { raw }).await;
        payload.unwrap().unwrap();
        let now = Timestamp::now();
        let record = Record::received(JobLabel::default(), Restart::Allowed, now, now);
        let record = create(&ledger, &Key::record(&job), record).await;
        record.unwrap().unwrap();

        let jobs = Jobs {
            gitlabs: BTreeMap::new(),
            limit: Duration::from_secs(20),
        };
        let ended = jobs.end(&ledger).await.unwrap();
        assert_eq!((ended.told, ended.untold), (1, Vec::new()));
        let sent = gitlab.received_requests().await.unwrap();
        let told = sent
            .iter()
            .filter(|request| request.method.as_str() == "PUT");
        let told: Vec<_> = told
            .map(|request| String::from_utf8_lossy(&request.body).into_owned())
            .collect();
        let last = told.last().unwrap();
        assert!(
            last.contains("\"failed\"") && last.contains("runner_system_failure"),
            "{told:?}"
        );
    }
}
