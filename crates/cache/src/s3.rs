//! A job's cache in S3: the worker signs, the helper transfers.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use url::Url;

use crate::{CacheError, CacheScope, object_key};

/// The cache of one job's project in the stack's bucket.
///
/// The credentials stay in the worker; a job's helper only gets URLs for its own objects.
#[derive(Clone)]
pub struct S3Cache {
    client: Client,
    bucket: String,
    scope: CacheScope,
    upload_limit: Option<u64>,
}

impl fmt::Debug for S3Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Cache")
            .field("bucket", &self.bucket)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl S3Cache {
    /// The cache of a project.
    pub fn new(client: Client, bucket: impl Into<String>, scope: CacheScope) -> Self {
        Self {
            client,
            bucket: bucket.into(),
            scope,
            upload_limit: None,
        }
    }

    /// Sets the maximum size of an archive (`MaxUploadedArchiveSize`); larger ones are not
    /// uploaded.
    pub fn with_upload_limit(self, bytes: Option<u64>) -> Self {
        Self {
            upload_limit: bytes,
            ..self
        }
    }

    /// The maximum size of an archive in bytes, if there is one.
    pub fn upload_limit(&self) -> Option<u64> {
        self.upload_limit
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The object key of a cache key.
    ///
    /// # Errors
    /// If nothing is left of the key once it is sanitised.
    pub fn object_key(&self, key: &str) -> Result<String, CacheError> {
        object_key(&self.scope, key)
    }

    /// A URL with which anybody may GET the cache for `ttl` (at most until this worker's own
    /// credentials expire).
    ///
    /// # Errors
    /// If the key is empty or there are no credentials.
    pub async fn presign_get(&self, key: &str, ttl: Duration) -> Result<Url, CacheError> {
        let key = self.object_key(key)?;
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        signed(request.presigned(expires(ttl)?).await)
    }

    /// A URL with which anybody may PUT the cache for `ttl`.
    ///
    /// # Errors
    /// If the key is empty or there are no credentials.
    pub async fn presign_put(&self, key: &str, ttl: Duration) -> Result<Url, CacheError> {
        let key = self.object_key(key)?;
        let request = self.client.put_object().bucket(&self.bucket).key(key);
        signed(request.presigned(expires(ttl)?).await)
    }
}

fn expires(ttl: Duration) -> Result<PresigningConfig, CacheError> {
    PresigningConfig::expires_in(ttl).map_err(|error| CacheError::Sign(error.to_string()))
}

fn signed<E: std::error::Error>(
    request: Result<aws_sdk_s3::presigning::PresignedRequest, E>,
) -> Result<Url, CacheError> {
    let request = request.map_err(|error| CacheError::Sign(chain(&error)))?;
    Url::parse(request.uri()).map_err(|error| CacheError::Sign(error.to_string()))
}

/// The text of an SDK error covers only its outermost layer ("dispatch failure"); the causes say
/// more.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};

    fn cache() -> S3Cache {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new(
                "AKIDEXAMPLE",
                "secret",
                None,
                None,
                "test",
            ))
            .build();
        let scope = CacheScope {
            prefix: Some("cache".into()),
            shared: false,
            short_token: "abcdefghi".into(),
            project_id: 7,
        };
        S3Cache::new(Client::from_conf(config), "stack-bucket", scope)
    }

    #[tokio::test]
    async fn urls_sign_one_method_on_one_object() {
        let ttl = Duration::from_mins(10);
        let get = cache().presign_get("main", ttl).await.unwrap();
        let put = cache().presign_put("main", ttl).await.unwrap();
        assert_eq!(get.path(), "/cache/runner/abcdefghi/project/7/main");
        assert_eq!(get.path(), put.path());
        let signature = |url: &Url| {
            url.query_pairs()
                .find(|(name, _)| name == "X-Amz-Signature")
                .unwrap()
                .1
                .into_owned()
        };
        assert_ne!(signature(&get), signature(&put));
        // Only the host is signed, so that a helper may add Range and If-Match; if the checksum of
        // the empty body were signed, every upload would fail.
        for url in [get, put] {
            let headers = url
                .query_pairs()
                .find(|(name, _)| name == "X-Amz-SignedHeaders")
                .unwrap()
                .1;
            assert_eq!(headers, "host", "{url}");
            assert!(!url.query().unwrap().contains("checksum"), "{url}");
        }
    }

    #[tokio::test]
    async fn an_empty_key_is_no_key() {
        let refused = cache().presign_get("../", Duration::from_secs(1)).await;
        assert!(matches!(refused, Err(CacheError::EmptyKey { .. })));
    }
}
