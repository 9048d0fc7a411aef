//! The connection to the bucket that a `config.toml` names for caches (`[runners.cache.s3]`).

use aws_config::sts::AssumeRoleProvider;
use aws_config::{Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider,
};
use aws_sdk_s3::types::BucketLocationConstraint;
use onspot_cache::Connections;
use onspot_reconcile::ServiceResultExt as _;
use onspot_runnerconf::{S3, S3Authentication};
use onspot_settings::Secret;

use crate::clients::sdk_config;

/// The region of a bucket that names none.
const FALLBACK: &str = "us-east-1";
/// The address of AWS's own S3, for which the SDK needs no endpoint.
const AWS: &str = "s3.amazonaws.com";
/// What CloudTrail calls the use of a role for a cache.
const SESSION: &str = "onspot-cache";

/// Clients for the bucket as its keys describe it: with its access key, or else with the host's
/// credentials. Without `BucketLocation`, AWS is asked for the bucket's region.
///
/// `RoleARN` is assumed for all of it, `UploadRoleARN` only for uploads: the worker assumes it and
/// signs URLs with it, so that no credentials reach a job.
pub async fn cache_connections(s3: &S3) -> Connections {
    let (client, config) = client(s3).await;
    let assuming = async |role: &str| assuming(role, keys(s3), &client, &config).await;
    let (role, upload_role) = (s3.role_arn.as_deref(), s3.upload_role_arn.as_deref());
    match (role, upload_role) {
        (Some(role), _) => assuming(role).await.into(),
        (None, Some(role)) => Connections {
            uploads: assuming(role).await,
            downloads: client.clone(),
        },
        (None, None) => client.clone().into(),
    }
}

/// The same connection with the credentials of a role.
async fn assuming(
    role: &str,
    keys: Option<Credentials>,
    client: &Client,
    config: &SdkConfig,
) -> Client {
    let region = client.config().region().cloned();
    let role = AssumeRoleProvider::builder(role)
        .configure(&config.to_builder().region(region).build())
        .session_name(SESSION);
    let own = keys.map(SharedCredentialsProvider::new);
    let provider = match own.or_else(|| config.credentials_provider()) {
        Some(own) => role.build_from_provider(own).await,
        None => role.build().await,
    };
    let builder = client.config().to_builder().credentials_provider(provider);
    Client::from_conf(builder.build())
}

async fn client(s3: &S3) -> (Client, SdkConfig) {
    let region = s3.bucket_location.clone().or_else(|| region_in_address(s3));
    let config = sdk_config(Some(region.as_deref().unwrap_or(FALLBACK)), None).await;
    let builder = settings(Builder::from(&config), s3);
    let client = Client::from_conf(builder.clone().build());
    if region.is_some() {
        return (client, config);
    }
    let bucket = s3.bucket_name.as_deref().unwrap_or_default();
    let asked = client.get_bucket_location().bucket(bucket).send().await;
    match asked.calling("GetBucketLocation") {
        Ok(answer) => {
            let region = region_of(answer.location_constraint());
            let client = Client::from_conf(builder.region(Region::new(region)).build());
            (client, config)
        }
        Err(error) => {
            tracing::warn!(bucket, %error, "the cache's bucket does not say where it is: {FALLBACK} \
                is tried; set BucketLocation");
            (client, config)
        }
    }
}

/// Endpoint, addressing and credentials.
fn settings(builder: Builder, s3: &S3) -> Builder {
    // No `..`, so that a key that nobody uses does not compile.
    let S3 {
        server_address,
        // Made into credentials by `keys`.
        access_key: _,
        secret_key: _,
        session_token: _,
        authentication: _,
        bucket_name: _,
        bucket_location: _,
        insecure,
        path_style,
        dual_stack,
        accelerate,
        // Said with each upload.
        server_side_encryption: _,
        server_side_encryption_key_id: _,
        // Assumed by `assuming`.
        role_arn: _,
        upload_role_arn: _,
        // Named in a warning by `onspot_runnerconf::lint`.
        other: _,
    } = s3;
    let mut builder = builder.force_path_style(path_style.unwrap_or_else(|| needs_path(s3)));
    match server_address.as_deref() {
        None | Some(AWS) => {
            builder.set_use_dual_stack(Some(dual_stack.unwrap_or(true)));
            builder.set_accelerate(Some(*accelerate));
        }
        Some(address) => {
            let scheme = if *insecure { "http" } else { "https" };
            // Other services may not know AWS's checksums, and refuse a header that they do not
            // sign.
            builder = builder
                .endpoint_url(format!("{scheme}://{address}"))
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
    }
    match keys(s3) {
        Some(keys) => builder.credentials_provider(keys),
        None => builder,
    }
}

/// The access key, if it is to sign.
fn keys(s3: &S3) -> Option<Credentials> {
    if s3.authentication == Some(S3Authentication::Iam) {
        return None;
    }
    let (id, key) = s3.access_key.as_ref().zip(s3.secret_key.as_ref())?;
    let token = s3.session_token.as_ref().map(Secret::expose);
    let token = token.map(str::to_owned);
    let (id, key) = (id.expose(), key.expose());
    Some(Credentials::new(id, key, token, None, "config.toml"))
}

/// Whether the bucket's name goes into the path. Only AWS and Google have a host name per bucket,
/// and their TLS certificates do not cover bucket names with a dot.
fn needs_path(s3: &S3) -> bool {
    let Some(address) = s3.server_address.as_deref() else {
        return s3
            .bucket_name
            .as_ref()
            .is_some_and(|name| name.contains('.'));
    };
    let host = address.split(':').next().unwrap_or(address);
    let named = [
        "amazonaws.com",
        "amazonaws.com.cn",
        "storage.googleapis.com",
    ]
    .iter()
    .any(|domain| host.ends_with(domain));
    let dotted = s3
        .bucket_name
        .as_ref()
        .is_some_and(|name| name.contains('.'));
    !named || (dotted && !s3.insecure)
}

/// `eu-west-1` of `s3.eu-west-1.amazonaws.com`, or `s3-eu-west-1.…` as it was in 2017.
fn region_in_address(s3: &S3) -> Option<String> {
    let host = s3.server_address.as_deref()?.split(':').next()?;
    let host = host
        .strip_suffix(".amazonaws.com")
        .or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let host = host.strip_prefix("s3")?.strip_prefix(['.', '-'])?;
    let region = host.strip_prefix("dualstack.").unwrap_or(host);
    (region.split('-').count() >= 3).then(|| region.to_owned())
}

/// The region in the answer of `GetBucketLocation`, which has special names for two regions.
fn region_of(constraint: Option<&BucketLocationConstraint>) -> String {
    match constraint {
        None => FALLBACK.to_owned(),
        Some(BucketLocationConstraint::Eu) => "eu-west-1".to_owned(),
        Some(other) if other.as_str().is_empty() => FALLBACK.to_owned(),
        Some(other) => other.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_s3::presigning::PresigningConfig;

    use super::*;

    fn s3(bucket: &str) -> S3 {
        S3 {
            bucket_name: Some(bucket.into()),
            access_key: Some(Secret::new("AKID")),
            secret_key: Some(Secret::new("hidden")),
            ..S3::default()
        }
    }

    /// A URL for an object, signed as the keys demand.
    async fn signed(s3: &S3) -> url::Url {
        let base = Builder::new()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
            .region(Region::new("eu-west-1"));
        let client = Client::from_conf(settings(base, s3).build());
        let bucket = s3.bucket_name.as_deref().unwrap();
        let request = client.get_object().bucket(bucket).key("project/1/k");
        let ttl = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
        request.presigned(ttl).await.unwrap().uri().parse().unwrap()
    }

    fn parameter(url: &url::Url, name: &str) -> Option<String> {
        let mut pairs = url.query_pairs();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    #[tokio::test]
    async fn a_server_that_speaks_like_s3_is_reached_as_the_keys_say() {
        let minio = S3 {
            server_address: Some("minio:9000".into()),
            insecure: true,
            session_token: Some(Secret::new("session")),
            ..s3("runner-cache")
        };
        let url = signed(&minio).await;
        assert_eq!(url.origin().ascii_serialization(), "http://minio:9000");
        assert_eq!(url.path(), "/runner-cache/project/1/k");
        let credential = parameter(&url, "X-Amz-Credential").unwrap();
        assert!(credential.starts_with("AKID/") && credential.contains("/eu-west-1/s3/"));
        assert_eq!(
            parameter(&url, "X-Amz-Security-Token").as_deref(),
            Some("session")
        );
        assert_eq!(
            parameter(&url, "X-Amz-SignedHeaders").as_deref(),
            Some("host")
        );
        assert_eq!(parameter(&url, "x-amz-checksum-mode"), None);
    }

    #[tokio::test]
    async fn aws_is_reached_by_the_buckets_host_name() {
        let tls = |server: Option<&str>| S3 {
            server_address: server.map(str::to_owned),
            ..s3("runner-cache")
        };
        for (server, host) in [
            (None, "runner-cache.s3.dualstack.eu-west-1.amazonaws.com"),
            (
                Some(AWS),
                "runner-cache.s3.dualstack.eu-west-1.amazonaws.com",
            ),
            (
                Some("s3-eu-west-1.amazonaws.com"),
                "runner-cache.s3-eu-west-1.amazonaws.com",
            ),
        ] {
            let url = signed(&tls(server)).await;
            assert_eq!((url.scheme(), url.host_str()), ("https", Some(host)));
        }
        let ipv4 = S3 {
            dual_stack: Some(false),
            ..tls(None)
        };
        let url = signed(&ipv4).await;
        assert_eq!(
            url.host_str(),
            Some("runner-cache.s3.eu-west-1.amazonaws.com")
        );
        let fast = S3 {
            accelerate: true,
            ..ipv4
        };
        let url = signed(&fast).await;
        assert_eq!(
            url.host_str(),
            Some("runner-cache.s3-accelerate.amazonaws.com")
        );
        let path = S3 {
            path_style: Some(true),
            ..tls(Some("s3.eu-west-1.amazonaws.com"))
        };
        assert_eq!(signed(&path).await.path(), "/runner-cache/project/1/k");
    }

    #[test]
    fn the_region_is_read_from_awss_own_addresses() {
        for (server, region) in [
            ("s3-eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("s3.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            (
                "s3.dualstack.eu-central-1.amazonaws.com:443",
                Some("eu-central-1"),
            ),
            ("s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("s3.amazonaws.com", None),
            ("s3-accelerate.amazonaws.com", None),
            ("minio:9000", None),
        ] {
            let s3 = S3 {
                server_address: Some(server.into()),
                ..s3("b")
            };
            assert_eq!(region_in_address(&s3).as_deref(), region, "{server}");
        }
        assert_eq!(region_of(None), "us-east-1");
        assert_eq!(region_of(Some(&"EU".into())), "eu-west-1");
    }

    #[tokio::test]
    async fn a_role_is_assumed_with_the_keys_and_signs_instead_of_them() {
        let answer = r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>
            <SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken>
            <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>
            </AssumeRoleResponse>"#;
        let sts = wiremock::MockServer::start().await;
        wiremock::Mock::given(wiremock::matchers::body_string_contains("role%2Fcache"))
            .and(wiremock::matchers::header_regex(
                "authorization",
                "Credential=AKID/",
            ))
            .respond_with(wiremock::ResponseTemplate::new(200).set_body_string(answer))
            .expect(1)
            .mount(&sts)
            .await;
        let config = aws_config::defaults(aws_sdk_s3::config::BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(sts.uri())
            .no_credentials()
            .load()
            .await;
        let minio = S3 {
            server_address: Some("minio:9000".into()),
            ..s3("runner-cache")
        };
        let client = Client::from_conf(settings(Builder::from(&config), &minio).build());
        let assumed = assuming("arn:aws:iam::1:role/cache", keys(&minio), &client, &config).await;
        let ttl = || PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
        for _ in 0..2 {
            let request = assumed.put_object().bucket("runner-cache").key("k");
            let url = request.presigned(ttl()).await.unwrap();
            let url: url::Url = url.uri().parse().unwrap();
            assert_eq!(url.host_str(), Some("minio"));
            let credential = parameter(&url, "X-Amz-Credential").unwrap();
            assert!(credential.starts_with("ASIAROLE/"), "{credential}");
        }
    }
}
