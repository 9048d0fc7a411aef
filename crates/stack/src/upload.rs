//! Uploads the artifacts into the bucket's `bin/`, under names that hold their hash: what is
//! there already is right.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use onspot_reconcile::{CallError, Change, EventSender, Plan, ServiceResultExt as _};

use crate::artifacts::Artifacts;
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
            let size = format!("{:.1} MB", content.len() as f64 / 1e6);
            Planned::act(Change::create(RESOURCE, key).setting("size", size), content)
        });
    }
    Ok(UploadPlan {
        bucket: bucket.to_owned(),
        steps,
    })
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
            .send();
        report(events, &step.change, async {
            put.await.calling("PutObject")
        })
        .await?;
    }
    Ok(())
}
