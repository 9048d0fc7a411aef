//! Caches and artifacts of a running job.

use std::path::{Path, PathBuf};
use std::time::Duration;

use onspot_cache::{CacheAccess, local_file};
use onspot_gitlab::FailureReason;

use super::{Course, End};
use crate::error::ExecutorError;
use crate::helper::request::{Candidate, Location, RestoreCache, SaveCache};
use crate::helper::{HelperAnswer, HelperRequest};
use crate::host::Host;
use crate::plan::CachePlan;
use crate::run::Event;

/// How long a presigned URL is valid: it is used at once, but the transfer may be slow.
const URL_LIFETIME: Duration = Duration::from_hours(1);

impl<H: Host> Course<'_, H> {
    pub(super) async fn restore_caches(&self) -> Result<(), End> {
        if self.plan.caches.is_empty() {
            return Ok(());
        }
        let work = async {
            for cache in &self.plan.caches {
                if let Some(warning) = &cache.warning {
                    self.warn(warning);
                }
                // A cache is optional: no error here fails the job.
                for left in (0..self.plan.restore_attempts).rev() {
                    let Err(error) = self.restore_cache(cache).await else {
                        break;
                    };
                    let again = if left > 0 { "; trying again" } else { "" };
                    self.warn(&format!("the cache was not restored: {error}{again}"));
                }
            }
            Ok(())
        };
        self.section("restore_cache", "Restoring cache", work).await
    }

    async fn restore_cache(&self, cache: &CachePlan) -> Result<(), ExecutorError> {
        if cache.restore.is_empty() {
            if cache.warning.is_none() {
                self.run
                    .trace
                    .info(&format!("Not restoring {} (policy)", cache.key));
            }
            return Ok(());
        }
        let mut candidates = Vec::new();
        for key in &cache.restore {
            match self.candidate(key).await {
                Ok(Some(from)) => candidates.push(Candidate {
                    key: key.clone(),
                    from,
                }),
                Ok(None) => {
                    self.run.trace.info("This runner has no cache.");
                    return Ok(());
                }
                Err(error) => self.warn(&error.to_string()),
            }
        }
        if !candidates.is_empty() {
            let attempts = self.plan.restore_attempts;
            self.call(HelperRequest::RestoreCache(RestoreCache {
                candidates,
                attempts,
            }))
            .await?;
        }
        Ok(())
    }

    /// The location of a key's cache for the helper.
    async fn candidate(&self, key: &str) -> Result<Option<Location>, ExecutorError> {
        match &self.run.cache {
            CacheAccess::None => Ok(None),
            CacheAccess::S3(cache) => {
                let url = cache.presign_get(key, URL_LIFETIME).await?;
                Ok(Some(Location::Url(url.into())))
            }
            CacheAccess::Local(folder) => {
                let file = self.local_file(folder, key)?;
                let at = self
                    .host
                    .helper_file(&format!("restore/{}", uuid::Uuid::new_v4()));
                if file.is_file() {
                    self.host.put_file(&file, &at).await?;
                }
                Ok(Some(Location::File(at)))
            }
        }
    }

    pub(super) async fn save_caches(&self, success: bool) -> Result<(), End> {
        let wanted: Vec<&CachePlan> = self
            .plan
            .caches
            .iter()
            .filter(|cache| cache.save.is_some_and(|when| when.applies(success)))
            .collect();
        if wanted.is_empty() || matches!(self.run.cache, CacheAccess::None) {
            return Ok(());
        }
        let (name, title) = if success {
            ("archive_cache", "Saving cache for successful job")
        } else {
            ("archive_cache_on_failure", "Saving cache for failed job")
        };
        let work = async {
            for cache in wanted {
                if let Err(error) = self.save_cache(cache).await {
                    self.warn(&format!("the cache was not saved: {error}"));
                }
            }
            Ok(())
        };
        self.late_section(name, title, work).await
    }

    async fn save_cache(&self, cache: &CachePlan) -> Result<(), ExecutorError> {
        let to = match &self.run.cache {
            CacheAccess::None => return Ok(()),
            CacheAccess::S3(s3) => {
                Location::Url(s3.presign_put(&cache.key, URL_LIFETIME).await?.into())
            }
            CacheAccess::Local(_) => Location::File(
                self.host
                    .helper_file(&format!("save/{}", uuid::Uuid::new_v4())),
            ),
        };
        let request = SaveCache {
            key: cache.key.clone(),
            selection: cache.selection.clone(),
            format: cache.format,
            level: cache.level,
            to: to.clone(),
            most_bytes: match &self.run.cache {
                CacheAccess::S3(s3) => s3.upload_limit(),
                CacheAccess::None | CacheAccess::Local(_) => None,
            },
        };
        let HelperAnswer::Stored { bytes } = self.call(HelperRequest::SaveCache(request)).await?
        else {
            return Ok(());
        };
        if let (CacheAccess::Local(folder), Location::File(from)) = (&self.run.cache, &to) {
            self.keep(folder, &cache.key, from).await?;
        }
        self.tell(Event::CacheSaved {
            key: cache.key.clone(),
            bytes,
        })
        .await;
        Ok(())
    }

    /// Puts an archive from the helper into the local cache, atomically.
    async fn keep(&self, folder: &Path, key: &str, from: &Path) -> Result<(), ExecutorError> {
        let file = self.local_file(folder, key)?;
        let parent = file.parent().unwrap_or(folder);
        tokio::fs::create_dir_all(parent)
            .await
            .map_err(ExecutorError::io(format!("create {}", parent.display())))?;
        let new = parent.join(format!(".{}", uuid::Uuid::new_v4()));
        let taken = self.host.take_file(from, &new).await;
        let moved = match taken {
            Ok(()) => tokio::fs::rename(&new, &file)
                .await
                .map_err(ExecutorError::io(format!("write {}", file.display()))),
            Err(error) => Err(error),
        };
        if moved.is_err() {
            // The old cache is kept, an incomplete new one is removed.
            let _ = tokio::fs::remove_file(&new).await;
        }
        moved
    }

    fn local_file(&self, folder: &Path, key: &str) -> Result<PathBuf, ExecutorError> {
        Ok(local_file(
            folder,
            self.run.payload.job_info.project_id,
            key,
        )?)
    }

    pub(super) async fn upload_artifacts(&self, success: bool) -> Result<(), End> {
        let wanted: Vec<_> = self
            .plan
            .uploads
            .iter()
            .filter(|upload| upload.when.applies(success))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let (name, title) = if success {
            (
                "upload_artifacts_on_success",
                "Uploading artifacts for successful job",
            )
        } else {
            (
                "upload_artifacts_on_failure",
                "Uploading artifacts for failed job",
            )
        };
        let work = async {
            // A failed upload does not prevent the others.
            let mut failed = None;
            for upload in wanted {
                let request = HelperRequest::UploadArtifacts(Box::new(upload.request.clone()));
                match self.call(request).await {
                    Ok(HelperAnswer::Stored { bytes }) => {
                        let name = upload.request.name.clone();
                        self.tell(Event::ArtifactUploaded { name, bytes }).await;
                    }
                    Ok(_) => {}
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), Err)
        };
        match self.late_section(name, title, work).await {
            Err(End::Failed {
                reason: reason @ (FailureReason::ScriptFailure | FailureReason::RunnerSystemFailure),
                exit_code,
                message,
            }) => Err(End::Failed {
                reason,
                exit_code,
                message: format!("the artifacts were not uploaded: {message}"),
            }),
            other => other,
        }
    }
}
