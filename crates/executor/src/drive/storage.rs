//! Caches and artifacts of a running job.

use std::path::{Path, PathBuf};
use std::time::Duration;

use onspot_cache::{CacheAccess, CacheKey, LARGEST_PUT, S3Cache, local_file};
use onspot_gitlab::FailureReason;

use super::{Course, End};
use crate::error::Error;
use crate::helper::request::{Candidate, Location, RestoreCache, SaveCache, UploadParts};
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

    async fn restore_cache(&self, cache: &CachePlan) -> Result<(), Error> {
        if cache.restore.is_empty() {
            if cache.warning.is_none() {
                self.run
                    .trace
                    .info(&format!("Not restoring {} (policy)", cache.key.shown));
            }
            return Ok(());
        }
        if matches!(self.run.cache, CacheAccess::None) {
            self.run.trace.info("This runner has no cache.");
            return Ok(());
        }
        let mut candidates = Vec::new();
        let mut failed = None;
        for key in &cache.restore {
            match self.candidate(key).await {
                Ok(candidate) => candidates.push(candidate),
                // The others may be had.
                Err(error) => failed = Some(error),
            }
        }
        if candidates.is_empty() {
            return failed.map_or(Ok(()), Err);
        }
        if let Some(error) = failed {
            self.warn(&error.to_string());
        }
        let request = RestoreCache {
            candidates,
            attempts: self.plan.restore_attempts,
            selection: cache.selection.clone(),
            transfer_seconds: self.plan.transfer_seconds,
        };
        let answer = self.call(HelperRequest::RestoreCache(request)).await?;
        // What a fallback held says nothing about the object that the job will save.
        if let HelperAnswer::Restored {
            key: Some(key),
            fingerprint: Some(fingerprint),
        } = answer
            && key == cache.key.shown
        {
            let name = cache.key.name.clone();
            self.restored.lock().insert(name, fingerprint);
        }
        Ok(())
    }

    /// Where the cache of a key would be for the helper.
    async fn candidate(&self, key: &CacheKey) -> Result<Candidate, Error> {
        let (from, other) = match &self.run.cache {
            CacheAccess::S3(cache) => {
                let url = cache.presign_get(&key.name, URL_LIFETIME).await?;
                let other = match &key.other {
                    Some(name) => Some(cache.presign_get(name, URL_LIFETIME).await?),
                    None => None,
                };
                let place = |url: url::Url| Location::Url(url.into());
                (place(url), other.map(place))
            }
            CacheAccess::Local(folder) => {
                let at = self
                    .host
                    .helper_file(&format!("restore/{}", uuid::Uuid::new_v4()));
                let own = self.local_file(folder, &key.name)?;
                let other = key.other.as_ref();
                let other = other
                    .map(|name| self.local_file(folder, name))
                    .transpose()?;
                let place = Location::File(at.clone());
                match newer(&own, other.as_deref()) {
                    Some((file, true)) => {
                        self.host.put_file(file, &at).await?;
                        (place, None)
                    }
                    Some((file, false)) => {
                        self.host.put_file(file, &at).await?;
                        (Location::File(at.with_extension("none")), Some(place))
                    }
                    None => (place, None),
                }
            }
            CacheAccess::None => (Location::File(PathBuf::new()), None),
        };
        let key = key.shown.clone();
        Ok(Candidate { key, from, other })
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

    async fn save_cache(&self, cache: &CachePlan) -> Result<(), Error> {
        let name = &cache.key.name;
        let (to, headers) = match &self.run.cache {
            CacheAccess::None => return Ok(()),
            CacheAccess::S3(s3) => {
                let signed = s3.presign_put(name, URL_LIFETIME).await?;
                (Location::Url(signed.url.into()), signed.headers)
            }
            CacheAccess::Local(_) => {
                let file = format!("save/{}", uuid::Uuid::new_v4());
                (Location::File(self.host.helper_file(&file)), Vec::new())
            }
        };
        let request = SaveCache {
            key: cache.key.shown.clone(),
            selection: cache.selection.clone(),
            format: cache.format,
            level: cache.level,
            to: to.clone(),
            most_bytes: match &self.run.cache {
                CacheAccess::S3(s3) => s3.upload_limit(),
                CacheAccess::None | CacheAccess::Local(_) => None,
            },
            one_put: match &self.run.cache {
                CacheAccess::S3(_) => {
                    let file = format!("save/{}", uuid::Uuid::new_v4());
                    Some((LARGEST_PUT, self.host.helper_file(&file)))
                }
                CacheAccess::None | CacheAccess::Local(_) => None,
            },
            headers,
            stored: self.restored.lock().get(name).cloned(),
            transfer_seconds: self.plan.transfer_seconds,
        };
        let answer = self.call(HelperRequest::SaveCache(request)).await?;
        let bytes = match (answer, &self.run.cache) {
            (HelperAnswer::Stored { bytes }, _) => bytes,
            (HelperAnswer::TooLargeForOnePut { bytes, file }, CacheAccess::S3(s3)) => {
                self.save_in_parts(s3, name, bytes, file).await?;
                bytes
            }
            _ => return Ok(()),
        };
        if let (CacheAccess::Local(folder), Location::File(from)) = (&self.run.cache, &to) {
            self.keep(folder, name, from).await?;
        }
        self.tell(Event::CacheSaved {
            key: cache.key.shown.clone(),
            bytes,
        })
        .await;
        Ok(())
    }

    /// Has an archive uploaded that S3 does not take in one PUT.
    async fn save_in_parts(
        &self,
        s3: &S3Cache,
        name: &str,
        bytes: u64,
        file: PathBuf,
    ) -> Result<(), Error> {
        let begun = s3.begin_parts(name, bytes, URL_LIFETIME * 6).await;
        let (upload, part_bytes, urls) = match &begun {
            Ok(parts) => (parts.upload.clone(), parts.part_bytes, &parts.urls[..]),
            // The helper is still to remove the file.
            Err(_) => (String::new(), 1, &[][..]),
        };
        let request = UploadParts {
            file,
            urls: urls.iter().map(ToString::to_string).collect(),
            part_bytes,
            transfer_seconds: self.plan.transfer_seconds,
        };
        let answer = self.call(HelperRequest::UploadParts(request)).await;
        begun?;
        let finished = match answer {
            Ok(HelperAnswer::Parts { etags }) => s3.finish_parts(name, &upload, etags).await,
            Ok(_) => Ok(()),
            Err(error) => {
                s3.abandon_parts(name, &upload).await;
                return Err(error);
            }
        };
        if finished.is_err() {
            s3.abandon_parts(name, &upload).await;
        }
        Ok(finished?)
    }

    /// Puts an archive from the helper into the local cache, atomically.
    async fn keep(&self, folder: &Path, key: &str, from: &Path) -> Result<(), Error> {
        let file = self.local_file(folder, key)?;
        let parent = file.parent().unwrap_or(folder);
        tokio::fs::create_dir_all(parent)
            .await
            .map_err(Error::io(format!("create {}", parent.display())))?;
        let new = parent.join(format!(".{}", uuid::Uuid::new_v4()));
        let taken = self.host.take_file(from, &new).await;
        let moved = match taken {
            Ok(()) => tokio::fs::rename(&new, &file)
                .await
                .map_err(Error::io(format!("write {}", file.display()))),
            Err(error) => Err(error),
        };
        if moved.is_err() {
            // The old cache is kept, an incomplete new one is removed.
            let _ = tokio::fs::remove_file(&new).await;
        }
        moved
    }

    fn local_file(&self, folder: &Path, key: &str) -> Result<PathBuf, Error> {
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

/// The newer one of two files that may exist, and whether it is the first.
fn newer<'a>(own: &'a Path, other: Option<&'a Path>) -> Option<(&'a Path, bool)> {
    let modified = |path: &Path| std::fs::metadata(path).ok()?.modified().ok();
    let (first, second) = (modified(own), other.and_then(modified));
    match other {
        Some(other) if second > first => Some((other, false)),
        _ => first.map(|_| (own, true)),
    }
}
