//! Creates and repairs the bucket.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint,
    CreateBucketConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag, Tagging,
};
use aws_smithy_types::error::operation::BuildError;
use onspot_reconcile::{CallError, CallFailure, EventSender, ServiceResultExt, Step, Tags};

use super::delete::delete;
use super::{Action, BucketError, BucketPlan, BucketSpec, ExpiryRule, SETTLING, unbuilt};

/// The region that must not be named when a bucket is created in it.
const REGION_WITHOUT_CONSTRAINT: &str = "us-east-1";
/// Executes the `plan`; can be repeated after a failure.
///
/// # Errors
/// If S3 refuses a call or cannot be reached.
pub async fn apply(
    s3: &Client,
    plan: &BucketPlan,
    events: &EventSender,
) -> Result<(), BucketError> {
    let Some(change) = plan.change.as_ref().filter(|_| !plan.is_empty()) else {
        return Ok(());
    };
    let what = change.title();
    let step = Step::start(events, what);
    for action in &plan.actions {
        if let Err(error) = act(s3, plan, *action, &step).await {
            step.failed(&error);
            return Err(error);
        }
    }
    step.done(Some(&plan.spec.name));
    Ok(())
}

/// Executes a [`teardown`](super::teardown) plan: removes the bucket and its contents.
///
/// # Errors
/// If S3 refuses a call or cannot be reached, or an object cannot be removed.
pub async fn destroy(
    s3: &Client,
    plan: &BucketPlan,
    events: &EventSender,
) -> Result<(), BucketError> {
    apply(s3, plan, events).await
}

async fn act(
    s3: &Client,
    plan: &BucketPlan,
    action: Action,
    step: &Step<'_>,
) -> Result<(), BucketError> {
    let spec = &plan.spec;
    match action {
        Action::Create => create(s3, spec).await,
        Action::Tag => tag(s3, plan).await,
        Action::Encrypt => encrypt(s3, spec).await,
        Action::BlockPublicAccess => block_public_access(s3, spec).await,
        Action::EnforceOwner => enforce_owner(s3, spec).await,
        Action::SetPolicy => {
            let policy = spec.policy().to_string();
            settled(async || {
                let call = s3.put_bucket_policy().bucket(&spec.name).policy(&policy);
                call.send().await.calling("PutBucketPolicy").map(drop)
            })
            .await
        }
        Action::SetExpiry => set_expiry(s3, spec).await,
        Action::Delete => delete(s3, spec, step).await,
    }
}

/// Creates the bucket with its tags in the same call, as an organisation may demand. Where that is
/// refused, by missing permission or by an S3 look-alike, it is created without tags; they are set
/// next.
async fn create(s3: &Client, spec: &BucketSpec) -> Result<(), BucketError> {
    let tags = sdk_tags(&spec.all_tags()).map_err(|source| unbuilt(spec, source))?;
    // A bucket of the same name that was just removed blocks the name for a while.
    let worth_it = |error: &CallError| error.code() == Some("OperationAborted");
    let try_to = async |tags: Option<Vec<Tag>>| {
        let configuration = configuration(spec, tags);
        SETTLING
            .retry(worth_it, async || {
                let call = s3.create_bucket().bucket(&spec.name);
                let call = call.set_create_bucket_configuration(configuration.clone());
                call.send().await.calling("CreateBucket")
            })
            .await
    };
    let without = |error: &CallError| {
        error.failure() == CallFailure::Denied
            || matches!(error.code(), Some("MalformedXML" | "NotImplemented"))
    };
    let made = match try_to(Some(tags)).await {
        Err(error) if without(&error) => try_to(None).await,
        made => made,
    };
    match made {
        Err(error) if error.code() == Some("BucketAlreadyExists") => Err(BucketError::Foreign {
            name: spec.name.clone(),
        }),
        Err(error) if !error.is_already_there() => Err(error.into()),
        _ => Ok(()),
    }
}

fn configuration(spec: &BucketSpec, tags: Option<Vec<Tag>>) -> Option<CreateBucketConfiguration> {
    let elsewhere = spec.region != REGION_WITHOUT_CONSTRAINT;
    let location = elsewhere.then(|| BucketLocationConstraint::from(spec.region.as_str()));
    (location.is_some() || tags.is_some()).then(|| {
        CreateBucketConfiguration::builder()
            .set_location_constraint(location)
            .set_tags(tags)
            .build()
    })
}

fn sdk_tags(tags: &Tags) -> Result<Vec<Tag>, BuildError> {
    let tags = tags.iter();
    tags.map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

/// Sets the tags and keeps those that others set.
async fn tag(s3: &Client, plan: &BucketPlan) -> Result<(), BucketError> {
    let spec = &plan.spec;
    let tags =
        sdk_tags(&plan.tags).and_then(|tags| Tagging::builder().set_tag_set(Some(tags)).build());
    let tags = tags.map_err(|source| unbuilt(spec, source))?;
    settled(async || {
        let call = s3
            .put_bucket_tagging()
            .bucket(&spec.name)
            .tagging(tags.clone());
        call.send().await.calling("PutBucketTagging").map(drop)
    })
    .await
}

async fn encrypt(s3: &Client, spec: &BucketSpec) -> Result<(), BucketError> {
    let rule = |default| {
        ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(default)
            .bucket_key_enabled(true)
            .build()
    };
    let configuration = ServerSideEncryptionByDefault::builder()
        .sse_algorithm(ServerSideEncryption::Aes256)
        .build()
        .and_then(|default| {
            ServerSideEncryptionConfiguration::builder()
                .rules(rule(default))
                .build()
        })
        .map_err(|source| unbuilt(spec, source))?;
    settled(async || {
        let call = s3.put_bucket_encryption().bucket(&spec.name);
        let call = call.server_side_encryption_configuration(configuration.clone());
        call.send().await.calling("PutBucketEncryption").map(drop)
    })
    .await
}

async fn block_public_access(s3: &Client, spec: &BucketSpec) -> Result<(), BucketError> {
    let all = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build();
    settled(async || {
        let call = s3.put_public_access_block().bucket(&spec.name);
        let call = call.public_access_block_configuration(all.clone());
        call.send().await.calling("PutPublicAccessBlock").map(drop)
    })
    .await
}

async fn enforce_owner(s3: &Client, spec: &BucketSpec) -> Result<(), BucketError> {
    let controls = OwnershipControlsRule::builder()
        .object_ownership(ObjectOwnership::BucketOwnerEnforced)
        .build()
        .and_then(|rule| OwnershipControls::builder().rules(rule).build())
        .map_err(|source| unbuilt(spec, source))?;
    settled(async || {
        let call = s3.put_bucket_ownership_controls().bucket(&spec.name);
        let call = call.ownership_controls(controls.clone());
        call.send()
            .await
            .calling("PutBucketOwnershipControls")
            .map(drop)
    })
    .await
}

async fn set_expiry(s3: &Client, spec: &BucketSpec) -> Result<(), BucketError> {
    let rules: Result<Vec<_>, BuildError> = spec.expiry().into_iter().map(lifecycle_rule).collect();
    let configuration = rules
        .and_then(|rules| {
            BucketLifecycleConfiguration::builder()
                .set_rules(Some(rules))
                .build()
        })
        .map_err(|source| unbuilt(spec, source))?;
    settled(async || {
        let call = s3.put_bucket_lifecycle_configuration().bucket(&spec.name);
        let call = call.lifecycle_configuration(configuration.clone());
        call.send()
            .await
            .calling("PutBucketLifecycleConfiguration")
            .map(drop)
    })
    .await
}

fn lifecycle_rule(rule: ExpiryRule) -> Result<LifecycleRule, BuildError> {
    let expiration = rule
        .expire_days
        .map(|days| LifecycleExpiration::builder().days(days).build());
    let abort = rule.abort_upload_days.map(|days| {
        AbortIncompleteMultipartUpload::builder()
            .days_after_initiation(days)
            .build()
    });
    LifecycleRule::builder()
        .id(rule.id)
        .filter(LifecycleRuleFilter::builder().prefix(rule.prefix).build())
        .status(ExpirationStatus::Enabled)
        .set_expiration(expiration)
        .set_abort_incomplete_multipart_upload(abort)
        .build()
}

/// Repeats a call until the new bucket is visible everywhere in S3.
async fn settled<F>(call: impl FnMut() -> F) -> Result<(), BucketError>
where
    F: Future<Output = Result<(), CallError>>,
{
    let worth_it =
        |error: &CallError| error.is_not_found() || error.code() == Some("OperationAborted");
    Ok(SETTLING.retry(worth_it, call).await?)
}
