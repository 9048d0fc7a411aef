//! Reads and corrects the tags of existing resources, for all kinds of resources.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Tag};
use onspot_reconcile::{ServiceResultExt, TagDrift, Tags};

use crate::Error;

/// Most values that EC2 accepts for one filter.
const FILTER_VALUES: usize = 200;

/// The tags of the resources with these ids.
pub(crate) async fn describe<'a>(
    ec2: &Client,
    ids: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, Tags>, Error> {
    let ids: Vec<String> = ids.map(str::to_owned).collect();
    let mut found: BTreeMap<String, Tags> = BTreeMap::new();
    for some in ids.chunks(FILTER_VALUES) {
        let of_these = Filter::builder()
            .name("resource-id")
            .set_values(Some(some.to_vec()))
            .build();
        let call = ec2.describe_tags().filters(of_these);
        let tags = call.into_paginator().items().send().try_collect().await;
        for tag in tags.calling("DescribeTags")? {
            if let (Some(id), Some(key)) = (tag.resource_id, tag.key) {
                let value = tag.value.unwrap_or_default();
                found.entry(id).or_default().extend([(key, value)]);
            }
        }
    }
    Ok(found)
}

/// Sets missing tags and removes unwanted ones. It names the values of the tags to remove, so that
/// EC2 keeps a value that somebody else has set meanwhile.
pub(crate) async fn retag(ec2: &Client, id: &str, drift: &TagDrift) -> Result<(), Error> {
    if !drift.set().is_empty() {
        let call = ec2.create_tags().resources(id);
        let call = call.set_tags(Some(sdk_tags(drift.set()))).send().await;
        call.calling("CreateTags")?;
    }
    if !drift.remove().is_empty() {
        let call = ec2.delete_tags().resources(id);
        let call = call.set_tags(Some(sdk_tags(drift.remove()))).send().await;
        call.calling("DeleteTags")?;
    }
    Ok(())
}

/// Tags as EC2 wants them.
pub(crate) fn sdk_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}
