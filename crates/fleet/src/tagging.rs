//! Converts tags to and from EC2's types.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    LaunchTemplateTagSpecificationRequest, ResourceType, Tag, TagSpecification,
};
use onspot_reconcile::{ServiceResultExt, TagDrift, Tags};

use crate::Error;

/// Tags of one kind of resource, for a call that creates it.
pub(crate) fn tag_specification(kind: ResourceType, tags: &Tags) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(kind)
        .set_tags(Some(ec2_tags(tags)))
        .build()
}

/// Tags of one kind of resource that a launch template creates.
pub(crate) fn template_tags(
    kind: ResourceType,
    tags: &Tags,
) -> LaunchTemplateTagSpecificationRequest {
    LaunchTemplateTagSpecificationRequest::builder()
        .resource_type(kind)
        .set_tags(Some(ec2_tags(tags)))
        .build()
}

/// Tags as EC2 wants them.
pub(crate) fn ec2_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

/// Corrects the tags of an existing resource.
pub(crate) async fn retag(ec2: &Client, id: &str, drift: &TagDrift) -> Result<(), Error> {
    if !drift.set().is_empty() {
        let call = ec2.create_tags().resources(id);
        let call = call.set_tags(Some(ec2_tags(drift.set()))).send().await;
        call.calling("CreateTags")?;
    }
    if !drift.remove().is_empty() {
        // With their values, so that EC2 keeps a value that somebody else has set meanwhile.
        let call = ec2.delete_tags().resources(id);
        let call = call.set_tags(Some(ec2_tags(drift.remove()))).send().await;
        call.calling("DeleteTags")?;
    }
    Ok(())
}

/// Tags as EC2 gives them.
pub(crate) fn from_ec2(tags: Option<Vec<Tag>>) -> Tags {
    let pairs = tags.unwrap_or_default().into_iter();
    pairs
        .filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
        .collect()
}
