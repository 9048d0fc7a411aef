//! A job's cache in S3: the worker signs, the helper transfers.

mod parts;

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::types::ServerSideEncryption;
use url::Url;

pub use self::parts::{LARGEST_PUT, SignedParts};
use crate::error::chain;
use crate::{CacheScope, Error, object_key};

/// How S3 is asked to encrypt an archive; the bucket's own way if it is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With a key of S3's own.
    S3,
    /// With a key of KMS.
    Kms {
        /// The key's id, ARN or alias; S3's own if absent.
        key: Option<String>,
    },
    /// Twice, with a key of KMS.
    DoubleKms {
        /// The key's id, ARN or alias; S3's own if absent.
        key: Option<String>,
    },
}

impl Encryption {
    fn kind(&self) -> ServerSideEncryption {
        match self {
            Self::S3 => ServerSideEncryption::Aes256,
            Self::Kms { .. } => ServerSideEncryption::AwsKms,
            Self::DoubleKms { .. } => ServerSideEncryption::AwsKmsDsse,
        }
    }

    fn key(&self) -> Option<&str> {
        match self {
            Self::S3 => None,
            Self::Kms { key } | Self::DoubleKms { key } => key.as_deref(),
        }
    }
}

/// The connections to a bucket, which may have different rights.
#[derive(Debug, Clone)]
pub struct Connections {
    /// For what jobs restore.
    pub downloads: Client,
    /// For what jobs save.
    pub uploads: Client,
}

impl From<Client> for Connections {
    fn from(client: Client) -> Self {
        Self {
            uploads: client.clone(),
            downloads: client,
        }
    }
}

/// A URL for one upload and the headers that have to go with it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedPut {
    /// The URL.
    pub url: Url,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

/// The cache of one job's project in the stack's bucket.
///
/// The credentials stay in the worker; a job's helper only gets URLs for its own objects.
#[derive(Clone)]
pub struct S3Cache {
    client: Client,
    uploads: Client,
    bucket: String,
    scope: CacheScope,
    upload_limit: Option<u64>,
    encryption: Option<Encryption>,
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
    pub fn new(
        connections: impl Into<Connections>,
        bucket: impl Into<String>,
        scope: CacheScope,
    ) -> Self {
        let Connections { downloads, uploads } = connections.into();
        Self {
            client: downloads,
            uploads,
            bucket: bucket.into(),
            scope,
            upload_limit: None,
            encryption: None,
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

    /// Sets how S3 is asked to encrypt archives.
    #[must_use]
    pub fn with_encryption(self, encryption: Option<Encryption>) -> Self {
        Self { encryption, ..self }
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
    pub fn object_key(&self, key: &str) -> Result<String, Error> {
        object_key(&self.scope, key)
    }

    /// A URL with which anybody may GET the cache for `ttl` (at most until this worker's own
    /// credentials expire).
    ///
    /// # Errors
    /// If the key is empty or there are no credentials.
    pub async fn presign_get(&self, key: &str, ttl: Duration) -> Result<Url, Error> {
        let key = self.object_key(key)?;
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        signed(request.presigned(expires(ttl)?).await)
    }

    /// A URL with which anybody may PUT the cache for `ttl`.
    ///
    /// # Errors
    /// If the key is empty or there are no credentials.
    pub async fn presign_put(&self, key: &str, ttl: Duration) -> Result<SignedPut, Error> {
        let key = self.object_key(key)?;
        let encryption = self.encryption.as_ref();
        let request = self.uploads.put_object().bucket(&self.bucket).key(key);
        let request = request
            .set_server_side_encryption(encryption.map(Encryption::kind))
            .set_ssekms_key_id(encryption.and_then(Encryption::key).map(str::to_owned));
        let request = request.presigned(expires(ttl)?).await;
        let request = request.map_err(|error| Error::Sign(chain(&error)))?;
        let headers = request.headers();
        Ok(SignedPut {
            url: url_of(&request)?,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        })
    }
}

fn expires(ttl: Duration) -> Result<PresigningConfig, Error> {
    PresigningConfig::expires_in(ttl).map_err(|error| Error::Sign(error.to_string()))
}

fn signed<E: std::error::Error>(request: Result<PresignedRequest, E>) -> Result<Url, Error> {
    url_of(&request.map_err(|error| Error::Sign(chain(&error)))?)
}

fn url_of(request: &PresignedRequest) -> Result<Url, Error> {
    Url::parse(request.uri()).map_err(|error| Error::Sign(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};

    fn cache() -> S3Cache {
        cache_at("https://s3.eu-west-1.amazonaws.com")
    }

    pub(super) fn cache_at(endpoint: &str) -> S3Cache {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(endpoint)
            .force_path_style(true)
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
        assert_eq!(put.headers, []);
        let put = put.url;
        assert_eq!(
            get.path(),
            "/stack-bucket/cache/runner/abcdefghi/project/7/main"
        );
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
    async fn an_encrypted_upload_signs_what_it_asks_for() {
        let ttl = Duration::from_mins(10);
        let key = "arn:aws:kms:eu-west-1:1:key/k";
        let kms = || Some(key.to_owned());
        let name = "x-amz-server-side-encryption";
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (encryption, kind) in [
            (Encryption::S3, "AES256"),
            (Encryption::Kms { key: kms() }, "aws:kms"),
            (Encryption::DoubleKms { key: kms() }, "aws:kms:dsse"),
        ] {
            let mut expected = vec![header(name, kind)];
            if encryption.key().is_some() {
                expected.push(header(&format!("{name}-aws-kms-key-id"), key));
            }
            let cache = cache().with_encryption(Some(encryption));
            let mut put = cache.presign_put("main", ttl).await.unwrap();
            put.headers.sort();
            assert_eq!(put.headers, expected);
            let query = put.url.query().unwrap();
            assert!(query.contains(&format!("host%3B{name}")), "{query}");
            // Whoever only reads need not say how it was encrypted.
            let get = cache.presign_get("main", ttl).await.unwrap();
            assert!(!get.query().unwrap().contains("encryption"));
        }
    }

    #[tokio::test]
    async fn an_empty_key_is_no_key() {
        let refused = cache().presign_get("../", Duration::from_secs(1)).await;
        assert!(matches!(refused, Err(Error::EmptyKey { .. })));
    }
}
