//! The one place that builds the AWS SDK's configuration.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use onspot_reconcile::{CallError, CallFailure, ServiceResultExt as _};
use url::Url;

use crate::{Error, Spec};

/// Short, so that an endpoint that does not answer is noticed soon even with retries.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// No answer of AWS's control plane takes longer. Uploads have no such limit: see `upload`.
const READ: Duration = Duration::from_secs(30);
/// The first call and its retries.
const ATTEMPTS: u32 = 4;

/// A client of each service for one region, and the identity there.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Networks, instances, launch templates.
    pub ec2: aws_sdk_ec2::Client,
    /// The managers' group.
    pub autoscaling: aws_sdk_autoscaling::Client,
    /// Roles and instance profiles.
    pub iam: aws_sdk_iam::Client,
    /// The bucket.
    pub s3: aws_sdk_s3::Client,
    /// Tokens, and the names of images.
    pub ssm: aws_sdk_ssm::Client,
    /// Logs.
    pub logs: aws_sdk_cloudwatchlogs::Client,
    region: String,
    endpoint: Option<Url>,
    account: String,
}

impl Clients {
    /// Clients for the region and endpoint of `spec`.
    ///
    /// # Errors
    /// As [`Clients::connect_to`].
    pub async fn connect(spec: &Spec) -> Result<Self, Error> {
        Self::connect_to(spec.region.as_deref(), spec.aws.endpoint_url.as_ref()).await
    }

    /// Clients for `region` (or else the AWS profile's) at `endpoint` (or else AWS's own). Asks AWS
    /// for the caller's identity, so that wrong credentials or an unreachable AWS are reported at
    /// once.
    ///
    /// # Errors
    /// [`Error::NoRegion`], or [`Error::Call`] when there are no credentials, wrong ones, or no
    /// answer.
    pub async fn connect_to(region: Option<&str>, endpoint: Option<&Url>) -> Result<Self, Error> {
        let config = sdk_config(region, endpoint).await;
        let region = config.region().ok_or(Error::NoRegion)?.to_string();
        let sts = aws_sdk_sts::Client::new(&config);
        let identity = sts.get_caller_identity().send().await;
        let identity = identity
            .calling("GetCallerIdentity")
            .map_err(|error| unreachable(error, &region, endpoint))?;
        let account = identity.account.ok_or(Error::Incomplete {
            operation: "GetCallerIdentity",
            what: "the account",
        })?;
        Ok(Self::new(&config, region, endpoint.cloned(), account))
    }

    pub(crate) fn new(
        config: &SdkConfig,
        region: String,
        endpoint: Option<Url>,
        account: String,
    ) -> Self {
        Self {
            ec2: aws_sdk_ec2::Client::new(config),
            autoscaling: aws_sdk_autoscaling::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            s3: s3(config),
            ssm: aws_sdk_ssm::Client::new(config),
            logs: aws_sdk_cloudwatchlogs::Client::new(config),
            region,
            endpoint,
            account,
        }
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The endpoint of an AWS look-alike, if it is one.
    pub fn endpoint(&self) -> Option<&Url> {
        self.endpoint.as_ref()
    }

    /// The number of the account.
    pub fn account(&self) -> &str {
        &self.account
    }
}

/// Names the address in the error of an AWS that could not be reached.
fn unreachable(error: CallError, region: &str, endpoint: Option<&Url>) -> Error {
    match error.failure() {
        CallFailure::Unreachable | CallFailure::TimedOut => Error::Unreachable {
            at: endpoint.map_or_else(
                || format!("{region}.{}", domain(region)),
                |url| url.as_str().trim_end_matches('/').to_owned(),
            ),
            source: error,
        },
        _ => error.into(),
    }
}

/// The SDK's configuration for `region` (or the environment's) and `endpoint` (or AWS's own). The
/// manager and the workers use it too; their credentials come from the instance profile.
pub async fn sdk_config(region: Option<&str>, endpoint: Option<&Url>) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts);
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint.as_str().trim_end_matches('/'));
    }
    loader.load().await
}

/// An S3 client. Look-alikes of AWS have no host name per bucket, so with an endpoint the bucket
/// goes into the path.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let builder =
        aws_sdk_s3::config::Builder::from(config).force_path_style(config.endpoint_url().is_some());
    aws_sdk_s3::Client::from_conf(builder.build())
}

/// The part of AWS that a region is in, as ARNs name it.
pub fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// The domain of a region's services.
pub(crate) fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}
