//! Where the jobs of a worker have their cache.

use std::path::PathBuf;

use onspot_cache::{CacheAccess, CacheScope, S3Cache};
use onspot_gitlab::JobPayload;

/// Where the jobs' cache is, before it is known which job.
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
        /// The part of all keys before everything else, without slashes around it.
        prefix: Option<String>,
        /// Whether all runners share it.
        shared: bool,
    },
}

impl CachePlace {
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
            } => {
                let scope = CacheScope {
                    prefix: prefix.clone(),
                    shared: *shared,
                    short_token: short_token.to_owned(),
                    project_id: job.job_info.project_id,
                };
                CacheAccess::S3(S3Cache::new(client.clone(), bucket.clone(), scope))
            }
        }
    }
}
