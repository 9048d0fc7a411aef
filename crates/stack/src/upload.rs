//! Uploads the artifacts into the bucket's `bin/`, under names that hold their hash: what is
//! there already is right.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use onspot_reconcile::{CallError, Change, EventSender, Plan, ServiceResultExt as _};

use crate::artifacts::Artifacts;
use crate::clients::CONNECT;
use crate::step::{Planned, plan_of, report};

/// What plans call it.
const RESOURCE: &str = "object";

/// The uploads that are missing.
#[derive(Debug)]
pub(crate) struct UploadPlan<'a> {
    bucket: String,
    steps: Vec<Planned<&'a [u8]>>,
}

impl UploadPlan<'_> {
    /// The plan as data.
    pub(crate) fn plan(&self) -> Plan {
        plan_of(&self.steps)
    }
}

/// Looks which artifacts are missing. A bucket that is not there yet has none.
pub(crate) async fn plan<'a>(
    s3: &Client,
    bucket: &str,
    artifacts: &'a Artifacts,
) -> Result<UploadPlan<'a>, CallError> {
    let binary = (artifacts.binary.key(), artifacts.binary.content());
    let helper = artifacts
        .helper
        .as_ref()
        .map(|helper| (helper.key(), helper.content()));
    let mut steps = Vec::new();
    for (key, content) in std::iter::once(binary).chain(helper) {
        let head = s3.head_object().bucket(bucket).key(&key).send().await;
        let there = match head.calling("HeadObject") {
            Ok(_) => true,
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error),
        };
        steps.push(if there {
            Planned::keep(Change::keep(RESOURCE, key))
        } else {
            let tenths = content.len() / 100_000;
            let size = format!("{}.{} MB", tenths / 10, tenths % 10);
            Planned::act(Change::create(RESOURCE, key).setting("size", size), content)
        });
    }
    Ok(UploadPlan {
        bucket: bucket.to_owned(),
        steps,
    })
}

/// The SDK's read timeout covers the whole call, also the sending of its body, which takes
/// minutes on a slow line. An upload that stands still is ended by the SDK all the same.
fn unhurried() -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .disable_read_timeout()
        .build();
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
}

/// Uploads what is missing.
pub(crate) async fn apply(
    s3: &Client,
    plan: &UploadPlan<'_>,
    events: &EventSender,
) -> Result<(), CallError> {
    for step in &plan.steps {
        let Some(content) = step.action else { continue };
        let put = s3
            .put_object()
            .bucket(&plan.bucket)
            .key(&step.change.name)
            .body(ByteStream::from(content.to_vec()))
            .customize()
            .config_override(unhurried())
            .send();
        report(events, &step.change, async {
            put.await.calling("PutObject")
        })
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_s3::config::retry::RetryConfig;
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    use wiremock::matchers::method;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    /// A client that waits for no answer.
    fn impatient(endpoint: &str) -> Client {
        let timeouts = TimeoutConfig::builder()
            .read_timeout(Duration::from_millis(50))
            .build();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("AKIATEST", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .force_path_style(true)
            .endpoint_url(endpoint);
        Client::from_conf(config.build())
    }

    #[tokio::test]
    async fn an_upload_may_take_its_time() {
        let server = MockServer::start().await;
        let slow = ResponseTemplate::new(200).set_delay(Duration::from_millis(400));
        Mock::given(method("PUT"))
            .respond_with(slow)
            .mount(&server)
            .await;
        let plan = UploadPlan {
            bucket: "bucket".to_owned(),
            steps: vec![Planned::act(
                Change::create(RESOURCE, "bin/onspot-1"),
                &b"program"[..],
            )],
        };
        let (events, _nobody_listens) = onspot_reconcile::event_channel();
        apply(&impatient(&server.uri()), &plan, &events)
            .await
            .unwrap();
    }
}
