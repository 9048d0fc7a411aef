//! Deletes the bucket and its contents.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use onspot_reconcile::{ServiceResultExt, Step};

use super::{BucketError, BucketSpec, SETTLING, unbuilt};

/// Deletes the contents and then the bucket. Terminating instances may still write in between, so
/// this is repeated.
pub(super) async fn delete(
    s3: &Client,
    spec: &BucketSpec,
    step: &Step<'_>,
) -> Result<(), BucketError> {
    let refilled =
        |error: &BucketError| matches!(error, BucketError::Call(error) if error.is_in_use());
    let gone = SETTLING
        .retry(refilled, async || {
            abort_uploads(s3, &spec.name).await?;
            empty(s3, spec, step).await?;
            let call = s3.delete_bucket().bucket(&spec.name).send().await;
            Ok(call.calling("DeleteBucket").map(drop)?)
        })
        .await;
    match gone {
        Err(BucketError::Call(error)) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Deletes all objects in all versions, a thousand at a time.
async fn empty(s3: &Client, spec: &BucketSpec, step: &Step<'_>) -> Result<(), BucketError> {
    let bucket = &spec.name;
    let mut removed = 0;
    loop {
        let listed = s3.list_object_versions().bucket(bucket).send().await;
        let listed = listed.calling("ListObjectVersions")?;
        let versions = listed.versions.unwrap_or_default().into_iter();
        let versions = versions.map(|version| (version.key, version.version_id));
        let markers = listed.delete_markers.unwrap_or_default().into_iter();
        let markers = markers.map(|marker| (marker.key, marker.version_id));
        let objects: Result<Vec<_>, _> = versions
            .chain(markers)
            .map(|(key, version)| {
                ObjectIdentifier::builder()
                    .set_key(key)
                    .set_version_id(version)
                    .build()
            })
            .collect();
        let objects = objects.map_err(|source| unbuilt(spec, source))?;
        if objects.is_empty() {
            return Ok(());
        }
        removed += objects.len();
        remove(s3, spec, objects).await?;
        step.waiting(format!("its contents: {removed} objects removed"));
    }
}

async fn remove(
    s3: &Client,
    spec: &BucketSpec,
    objects: Vec<ObjectIdentifier>,
) -> Result<(), BucketError> {
    let batch = Delete::builder()
        .set_objects(Some(objects))
        .quiet(true)
        .build();
    let batch = batch.map_err(|source| unbuilt(spec, source))?;
    let call = s3
        .delete_objects()
        .bucket(&spec.name)
        .delete(batch)
        .send()
        .await;
    let errors = call.calling("DeleteObjects")?.errors.unwrap_or_default();
    let count = errors.len();
    match errors.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(BucketError::Undeletable {
            name: spec.name.clone(),
            count,
            key: first.key.unwrap_or_default(),
            why: first.message.or(first.code).unwrap_or_default(),
        }),
    }
}

/// Aborts unfinished uploads: their parts cost money like objects.
async fn abort_uploads(s3: &Client, bucket: &str) -> Result<(), BucketError> {
    let listed = s3.list_multipart_uploads().bucket(bucket).send().await;
    for upload in listed
        .calling("ListMultipartUploads")?
        .uploads
        .unwrap_or_default()
    {
        let call = s3.abort_multipart_upload().bucket(bucket);
        let call = call.set_key(upload.key).set_upload_id(upload.upload_id);
        match call.send().await.calling("AbortMultipartUpload") {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
