//! Observes the bucket's present state.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    LifecycleRule, ObjectOwnership, PublicAccessBlockConfiguration, ServerSideEncryptionRule,
};
use onspot_reconcile::{CallError, CallFailure, ServiceResultExt, Tags};
use serde_json::Value;

use super::{BucketError, BucketSpec, BucketState, ExpiryRule};

/// The bucket of `spec`; `None` if there is none.
///
/// # Errors
/// If the bucket belongs to another account, or S3 refuses a call or cannot be reached.
pub async fn observe(s3: &Client, spec: &BucketSpec) -> Result<Option<BucketState>, BucketError> {
    let Some(tags) = tags(s3, spec).await? else {
        return Ok(None);
    };
    let (encrypted, private, owner_enforced, policy, expiry) = tokio::try_join!(
        encrypted(s3, &spec.name),
        private(s3, &spec.name),
        owner_enforced(s3, &spec.name),
        policy(s3, &spec.name),
        expiry(s3, &spec.name),
    )?;
    Ok(Some(BucketState {
        tags,
        encrypted,
        private,
        owner_enforced,
        policy,
        expiry,
    }))
}

/// Whether the bucket of `spec` is there.
///
/// # Errors
/// As [`observe`].
pub async fn exists(s3: &Client, spec: &BucketSpec) -> Result<bool, BucketError> {
    Ok(tags(s3, spec).await?.is_some())
}

/// The bucket's tags. Asked first, because the answer distinguishes an untagged bucket, a missing
/// one and one of another account.
async fn tags(s3: &Client, spec: &BucketSpec) -> Result<Option<Tags>, BucketError> {
    let call = s3
        .get_bucket_tagging()
        .bucket(&spec.name)
        .expected_bucket_owner(&spec.account);
    match call.send().await.calling("GetBucketTagging") {
        Ok(answer) => {
            let pairs = answer.tag_set.into_iter().map(|tag| (tag.key, tag.value));
            Ok(Some(pairs.collect()))
        }
        Err(error) if error.code() == Some("NoSuchTagSet") => Ok(Some(Tags::new())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) if error.failure() == CallFailure::Denied => {
            // Either permission is missing or the bucket is not ours; then everything else is
            // denied too.
            let call = s3.get_bucket_location().bucket(&spec.name);
            let call = call.expected_bucket_owner(&spec.account).send().await;
            match call.calling("GetBucketLocation") {
                Err(other) if other.failure() == CallFailure::Denied => Err(BucketError::Foreign {
                    name: spec.name.clone(),
                }),
                _ => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

async fn encrypted(s3: &Client, bucket: &str) -> Result<bool, CallError> {
    let call = s3.get_bucket_encryption().bucket(bucket).send().await;
    let answer = present(call.calling("GetBucketEncryption"))?;
    let rules = answer.and_then(|answer| answer.server_side_encryption_configuration);
    let with_default =
        |rule: &ServerSideEncryptionRule| rule.apply_server_side_encryption_by_default.is_some();
    Ok(rules.is_some_and(|rules| rules.rules.iter().any(with_default)))
}

async fn private(s3: &Client, bucket: &str) -> Result<bool, CallError> {
    let call = s3.get_public_access_block().bucket(bucket).send().await;
    let answer = present(call.calling("GetPublicAccessBlock"))?;
    let blocked = |block: PublicAccessBlockConfiguration| {
        let all = [
            block.block_public_acls,
            block.ignore_public_acls,
            block.block_public_policy,
            block.restrict_public_buckets,
        ];
        all.into_iter().all(|one| one == Some(true))
    };
    Ok(answer
        .and_then(|answer| answer.public_access_block_configuration)
        .is_some_and(blocked))
}

async fn owner_enforced(s3: &Client, bucket: &str) -> Result<bool, CallError> {
    let call = s3
        .get_bucket_ownership_controls()
        .bucket(bucket)
        .send()
        .await;
    let answer = present(call.calling("GetBucketOwnershipControls"))?;
    let rules = answer
        .and_then(|answer| answer.ownership_controls)
        .map(|controls| controls.rules);
    let enforced = ObjectOwnership::BucketOwnerEnforced;
    Ok(rules
        .unwrap_or_default()
        .iter()
        .any(|rule| rule.object_ownership == enforced))
}

async fn policy(s3: &Client, bucket: &str) -> Result<Option<Value>, CallError> {
    let call = s3.get_bucket_policy().bucket(bucket).send().await;
    let text = present(call.calling("GetBucketPolicy"))?.and_then(|answer| answer.policy);
    // A policy that is not JSON is not ours; it is replaced like any other.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

async fn expiry(s3: &Client, bucket: &str) -> Result<Vec<ExpiryRule>, CallError> {
    let call = s3
        .get_bucket_lifecycle_configuration()
        .bucket(bucket)
        .send()
        .await;
    let answer = present(call.calling("GetBucketLifecycleConfiguration"))?;
    let rules = answer.and_then(|answer| answer.rules).unwrap_or_default();
    Ok(rules.into_iter().map(of_rule).collect())
}

fn of_rule(rule: LifecycleRule) -> ExpiryRule {
    let abort = rule.abort_incomplete_multipart_upload;
    ExpiryRule {
        id: rule.id.unwrap_or_default(),
        prefix: rule
            .filter
            .and_then(|filter| filter.prefix)
            .unwrap_or_default(),
        expire_days: rule.expiration.and_then(|expiration| expiration.days),
        abort_upload_days: abort.and_then(|abort| abort.days_after_initiation),
    }
}

/// `None` where S3 says that there is no such setting.
fn present<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
