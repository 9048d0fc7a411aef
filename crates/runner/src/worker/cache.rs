//! Where the jobs of a worker have their cache.

use std::path::PathBuf;

use onspot_cache::{CacheAccess, CacheScope, S3Cache};
use onspot_gitlab::JobPayload;
use onspot_runnerconf::{Cache, Runner};

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
        /// The most bytes that an archive may have, if there is a limit.
        upload_limit: Option<u64>,
    },
}

impl CachePlace {
    /// The bucket that a runner's configuration names, if it names one.
    pub(crate) fn configured(runner: &Runner, client: Option<&aws_sdk_s3::Client>) -> Option<Self> {
        // No `..`: a key that nobody uses is to be noticed here.
        let Cache {
            kind,
            path,
            shared,
            max_uploaded_archive_size,
            s3,
            // Named in a warning by `onspot_runnerconf::lint`.
            other: _,
        } = runner.cache.as_ref()?;
        kind.as_ref()?;
        Some(Self::S3 {
            client: client?.clone(),
            // All its other keys made the client.
            bucket: s3.as_ref()?.bucket_name.clone()?,
            prefix: path.clone(),
            shared: *shared,
            upload_limit: Some(*max_uploaded_archive_size).filter(|bytes| *bytes > 0),
        })
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
