//! Where the jobs of a worker have their cache.

use std::path::PathBuf;

use onspot_cache::{CacheAccess, CacheScope, Connections, Encryption, S3Cache};
use onspot_gitlab::JobPayload;
use onspot_settings::{self as settings, Cache};

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
        connections: Connections,
        /// The bucket.
        bucket: String,
        /// The prefix of all keys, without surrounding slashes.
        prefix: Option<String>,
        /// Whether all runners share it.
        shared: bool,
        /// The most bytes that an archive may have, if there is a limit.
        upload_limit: Option<u64>,
        /// How S3 is asked to encrypt archives.
        encryption: Option<Encryption>,
    },
}

impl CachePlace {
    /// In the bucket that the settings name.
    pub(crate) fn in_bucket(cache: &Cache, connections: impl Into<Connections>) -> Self {
        // No `..`, so that a key that nobody uses does not compile.
        let Cache {
            bucket,
            prefix,
            shared,
            upload_limit,
            encryption,
            encryption_key: key,
        } = cache.clone();
        Self::S3 {
            connections: connections.into(),
            bucket,
            prefix,
            shared,
            upload_limit: Some(upload_limit).filter(|bytes| *bytes > 0),
            encryption: encryption.map(|kind| match kind {
                settings::Encryption::S3 => Encryption::S3,
                settings::Encryption::Kms => Encryption::Kms { key },
                settings::Encryption::DsseKms => Encryption::DoubleKms { key },
            }),
        }
    }

    /// The cache of one job; `short_token` is the public part of its runner's token.
    pub(crate) fn access(&self, job: &JobPayload, short_token: &str) -> CacheAccess {
        match self {
            Self::None => CacheAccess::None,
            Self::Local(folder) => CacheAccess::Local(folder.clone()),
            Self::S3 {
                connections,
                bucket,
                prefix,
                shared,
                upload_limit,
                encryption,
            } => {
                let scope = CacheScope {
                    prefix: prefix.clone(),
                    shared: *shared,
                    short_token: short_token.to_owned(),
                    project_id: job.job_info.project_id,
                };
                let cache = S3Cache::new(connections.clone(), bucket.clone(), scope)
                    .with_upload_limit(*upload_limit)
                    .with_encryption(encryption.clone());
                CacheAccess::S3(cache)
            }
        }
    }
}
