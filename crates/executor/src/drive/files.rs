//! What comes before a job's scripts: its containers, its sources, caches and artifacts.

use std::time::Duration;

use onspot_gitlab::FailureReason;
use onspot_notation::duration;

use super::{Course, End, settle};
use crate::control::Control;
use crate::helper::HelperRequest;
use crate::host::Host;

impl<H: Host> Course<'_, H> {
    pub(super) async fn prepare(&mut self) -> Result<(), End> {
        let title = format!("Preparing the {:?} executor", self.host.name());
        let began = self.begin("prepare_executor", &title).await;
        for warning in &self.plan.warnings {
            self.warn(warning);
        }
        let limit = self.plan.prepare_timeout;
        let control = self.within(limit);
        let prepared = control.guard(self.host.prepare(&self.run.trace)).await;
        let result = settle(prepared, self.run.timeout);
        let result = self.limited(result, limit, "preparing", "prepare_timeout");
        self.end("prepare_executor", began, &result).await;
        result
    }

    /// Gets the job's files.
    pub(super) async fn files(&self) -> Result<(), End> {
        self.get_sources().await?;
        self.restore_caches().await?;
        self.download_artifacts().await
    }

    async fn get_sources(&self) -> Result<(), End> {
        let request = HelperRequest::GetSources(Box::new(self.plan.sources.clone()));
        let title = "Getting source from Git repository";
        let began = self.begin("get_sources", title).await;
        let limit = self.plan.get_sources_timeout;
        let got = self.within(limit).guard(self.call(request)).await;
        let result = settle(got, self.run.timeout).map(drop);
        let key = "get_sources_timeout";
        let result = self.limited(result, limit, "getting the sources", key);
        self.end("get_sources", began, &result).await;
        result
    }

    async fn download_artifacts(&self) -> Result<(), End> {
        if self.plan.downloads.downloads.is_empty() {
            return Ok(());
        }
        let request = HelperRequest::DownloadArtifacts(self.plan.downloads.clone());
        let work = async { self.call(request).await.map(drop) };
        self.section("download_artifacts", "Downloading artifacts", work)
            .await
    }

    fn within(&self, limit: Option<Duration>) -> Control {
        limit.map_or_else(|| self.control.clone(), |limit| self.control.within(limit))
    }

    /// Says which limit was too short, if it was not the job's own.
    fn limited(
        &self,
        result: Result<(), End>,
        limit: Option<Duration>,
        what: &str,
        key: &str,
    ) -> Result<(), End> {
        match (result, limit) {
            (
                Err(End::Failed {
                    reason: reason @ FailureReason::JobExecutionTimeout,
                    exit_code,
                    ..
                }),
                Some(limit),
            ) if !self.control.is_late() => Err(End::Failed {
                reason,
                exit_code,
                message: format!(
                    "{what} took longer than {} ({key} of the runner)",
                    duration::brief(limit)
                ),
            }),
            (result, _) => result,
        }
    }
}
