//! Uploads the program into the bucket's `bin/`. The names contain a hash of the content, so an
//! existing object is always right.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use onspot_reconcile::{CallError, Change, EventSender, Plan, ServiceResultExt as _};

use crate::clients::CONNECT;
use crate::program::Program;
use crate::step::report;

/// What plans call it.
const RESOURCE: &str = "object";

/// The missing uploads.
#[derive(Debug)]
pub(crate) struct UploadPlan {
    bucket: String,
    /// One per file; a file that is missing in the bucket is uploaded.
    changes: Vec<Change>,
}

impl UploadPlan {
    /// The plan as data.
    pub(crate) fn plan(&self) -> Plan {
        self.changes.iter().cloned().collect()
    }
}

/// Finds out which of its files are missing. If the bucket does not exist yet, all are.
pub(crate) async fn plan(
    s3: &Client,
    bucket: &str,
    program: &Program,
) -> Result<UploadPlan, CallError> {
    let mut changes = Vec::new();
    for (key, content) in program.files() {
        let head = s3.head_object().bucket(bucket).key(&key).send().await;
        let there = match head.calling("HeadObject") {
            Ok(_) => true,
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error),
        };
        changes.push(if there {
            Change::keep(RESOURCE, key)
        } else {
            let tenths = content.len() / 100_000;
            let size = format!("{}.{} MB", tenths / 10, tenths % 10);
            Change::create(RESOURCE, key).setting("size", size)
        });
    }
    Ok(UploadPlan {
        bucket: bucket.to_owned(),
        changes,
    })
}

/// The SDK's read timeout covers the whole call including the sending of its body, which takes
/// minutes on a slow line. The SDK still ends an upload that makes no progress.
fn unhurried() -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .disable_read_timeout()
        .build();
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
}

/// Uploads the missing files of `program`, for which the plan was made.
pub(crate) async fn apply(
    s3: &Client,
    plan: &UploadPlan,
    program: &Program,
    events: &EventSender,
) -> Result<(), CallError> {
    for (change, (_, content)) in plan.changes.iter().zip(program.files()) {
        if change.kind.acts() {
            put(s3, &plan.bucket, change, content, events).await?;
        }
    }
    Ok(())
}

async fn put(
    s3: &Client,
    bucket: &str,
    change: &Change,
    content: &[u8],
    events: &EventSender,
) -> Result<(), CallError> {
    let put = s3
        .put_object()
        .bucket(bucket)
        .key(&change.name)
        .body(ByteStream::from(content.to_vec()))
        .customize()
        .config_override(unhurried())
        .send();
    let put = async { put.await.calling("PutObject") };
    report(events, change, put).await?;
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
        let (events, _nobody_listens) = onspot_reconcile::event_channel();
        let change = Change::create(RESOURCE, "bin/onspot-1");
        let s3 = impatient(&server.uri());
        put(&s3, "bucket", &change, b"program", &events)
            .await
            .unwrap();
    }
}
