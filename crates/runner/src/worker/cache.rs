//! Where the jobs of a worker have their cache.

use std::path::PathBuf;

use onspot_cache::{CacheAccess, CacheScope, S3Cache};
use onspot_gitlab::JobPayload;
use onspot_settings::Cache;

/// Where the cache of all jobs is.
#[derive(Debug, Clone)]
pub enum CachePlace {
    /// There is none.
    None,
    /// In a folder of this host.
    Local(PathBuf),
    /// In a bucket.
    S3 {
        /// The connection, with the worker's own credentials.
        client: aws_sdk_s3::Client,
        /// The bucket.
        bucket: String,
        /// The prefix of all keys, without surrounding slashes.
        prefix: Option<String>,
        /// Whether all runners share it.
        shared: bool,
        /// The most bytes that an archive may have, if there is a limit.
        upload_limit: Option<u64>,
    },
}

impl CachePlace {
    /// In the bucket that the settings name.
    pub(crate) fn in_bucket(cache: &Cache, client: aws_sdk_s3::Client) -> Self {
        // No `..`, so that a key that nobody uses does not compile.
        let Cache {
            bucket,
            prefix,
            shared,
            upload_limit,
        } = cache.clone();
        Self::S3 {
            client,
            bucket,
            prefix,
            shared,
            upload_limit: Some(upload_limit).filter(|bytes| *bytes > 0),
        }
    }

    /// The cache of one job; `short_token` is the public part of its runner's token.
    pub(crate) fn access(&self, job: &JobPayload, short_token: &str) -> CacheAccess {
        match self {
            Self::None => CacheAccess::None,
            Self::Local(folder) => CacheAccess::Local(folder.clone()),
            Self::S3 {
                client,
                bucket,
                prefix,
                shared,
                upload_limit,
            } => {
                let scope = CacheScope {
                    prefix: prefix.clone(),
                    shared: *shared,
                    short_token: short_token.to_owned(),
                    project_id: job.job_info.project_id,
                };
                let cache = S3Cache::new(client.clone(), bucket.clone(), scope);
                CacheAccess::S3(cache.with_upload_limit(*upload_limit))
            }
        }
    }
}
