//! The parts of a template's version that onspot sets, as EC2 has them.
//!
//! A copy that somebody edited by hand keeps the description and thus the hash, so the parts
//! themselves are compared too.

use aws_sdk_ec2::types::{ResourceType, ResponseLaunchTemplateData};
use onspot_reconcile::Tags;
use serde::{Deserialize, Serialize};

use super::TemplateSpec;
use super::apply::data;
use crate::tagging::from_ec2;

/// The parts by name, each as a text that serves only for comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts(Vec<(String, String)>);

/// The parts of a request's or an answer's data: the SDK has a type for each, with the same names.
macro_rules! parts {
    ($data:expr, $tags:expr, $tags_of_requests:expr) => {{
        let data = $data;
        let volume = data.block_device_mappings().first();
        let disk = volume.and_then(|volume| volume.ebs());
        let metadata = data.metadata_options();
        let profile = data.iam_instance_profile();
        let behavior = data.instance_initiated_shutdown_behavior();
        Self::named([
            ("image", text(data.image_id())),
            ("instance type", word(data.instance_type())),
            ("instance profile", text(profile.and_then(|p| p.name()))),
            ("security groups", data.security_group_ids().join(", ")),
            ("user data", text(data.user_data())),
            ("root device", text(volume.and_then(|v| v.device_name()))),
            ("disk size", value(disk.and_then(|disk| disk.volume_size()))),
            ("disk type", word(disk.and_then(|disk| disk.volume_type()))),
            ("encryption", value(disk.and_then(|disk| disk.encrypted()))),
            (
                "metadata sessions",
                word(metadata.and_then(|m| m.http_tokens())),
            ),
            (
                "metadata hops",
                value(metadata.and_then(|m| m.http_put_response_hop_limit())),
            ),
            ("shutdown", word(behavior)),
            ("key pair", text(data.key_name())),
            ("instance tags", written($tags)),
            ("tags of spot requests", written($tags_of_requests)),
        ])
    }};
}

impl Parts {
    /// The parts that onspot would make from `spec`.
    pub fn wanted(spec: &TemplateSpec) -> Self {
        let tags = spec.instance_tags();
        let of_requests = if spec.spot { tags.clone() } else { Tags::new() };
        parts!(&data(spec), &tags, &of_requests)
    }

    /// The parts of an existing version.
    pub fn found(data: &ResponseLaunchTemplateData) -> Self {
        let of_requests = tags_of(data, &ResourceType::SpotInstancesRequest);
        parts!(data, &instance_tags(data), &of_requests)
    }

    /// The names of the parts in which the two differ.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let pairs = self.0.iter().zip(&other.0);
        let different = pairs.filter(|(mine, theirs)| mine != theirs);
        different.map(|((name, _), _)| name.clone()).collect()
    }

    fn named<const N: usize>(parts: [(&str, String); N]) -> Self {
        let parts = parts.into_iter();
        Self(
            parts
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }
}

/// The tags that instances of a version get.
pub(crate) fn instance_tags(data: &ResponseLaunchTemplateData) -> Tags {
    tags_of(data, &ResourceType::Instance)
}

/// The tags that a version gives to the resources of this kind.
fn tags_of(data: &ResponseLaunchTemplateData, kind: &ResourceType) -> Tags {
    let mut kinds = data.tag_specifications().iter();
    let tags = kinds.find(|tags| tags.resource_type() == Some(kind));
    from_ec2(tags.and_then(|tags| tags.tags.clone()))
}

fn text(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

fn word<T: AsRef<str>>(word: Option<&T>) -> String {
    text(word.map(AsRef::as_ref))
}

fn value<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn written(tags: &Tags) -> String {
    let pairs = tags.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join("\n")
}
