//! Machine images.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Image as Ec2Image, ImageState};
use onspot_reconcile::ServiceResultExt;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A machine image (AMI): the properties that a launch needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// EC2's id, for example `ami-0a1b2c3d`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// The device of its root volume, for example `/dev/xvda`.
    pub root_device: String,
    /// The root volume's size in the image, in GiB; 0 if unknown.
    pub root_gb: u32,
}

/// The image with this id.
///
/// # Errors
///
/// [`Error::NoImage`] if there is none with this id in the region; [`Error::Call`] if EC2 refuses
/// the call or cannot be reached.
pub async fn image(ec2: &Client, id: &str) -> Result<Image, Error> {
    let answer = ec2
        .describe_images()
        .image_ids(id)
        .send()
        .await
        .calling("DescribeImages");
    let images = match answer {
        Err(error) if error.is_not_found() || error.code() == Some("InvalidAMIID.Malformed") => {
            Vec::new()
        }
        other => other?.images.unwrap_or_default(),
    };
    let found = images.into_iter().find_map(of_ec2);
    found.ok_or_else(|| Error::NoImage {
        image: id.to_owned(),
    })
}

/// The newest available image of `owner` (an account or an alias such as `amazon`) whose
/// name matches `pattern` (`*` stands for anything).
///
/// # Errors
///
/// [`Error::NoImage`] if none matches; [`Error::Call`] if EC2 refuses the call or cannot be
/// reached.
pub async fn newest_image(
    ec2: &Client,
    owner: &str,
    pattern: &str,
    architecture: &str,
) -> Result<Image, Error> {
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let mut pages = ec2
        .describe_images()
        .owners(owner)
        .filters(filter("name", pattern))
        .filters(filter("architecture", architecture))
        .into_paginator()
        .send();
    let mut newest: Option<Ec2Image> = None;
    while let Some(page) = pages.next().await {
        let images = page.calling("DescribeImages")?.images.unwrap_or_default();
        let available = images
            .into_iter()
            .filter(|i| i.state.as_ref().is_none_or(|s| *s == ImageState::Available));
        // The dates are ISO 8601 texts, whose alphabetical order is that of time.
        newest = newest.into_iter().chain(available).max_by(|a, b| {
            a.creation_date
                .cmp(&b.creation_date)
                .then_with(|| a.image_id.cmp(&b.image_id))
        });
    }
    let found = newest.and_then(of_ec2);
    found.ok_or_else(|| Error::NoImage {
        image: format!("{pattern} of {owner} for {architecture}"),
    })
}

fn of_ec2(image: Ec2Image) -> Option<Image> {
    let root_device = image
        .root_device_name
        .unwrap_or_else(|| "/dev/xvda".to_owned());
    let disks = image.block_device_mappings.unwrap_or_default();
    let root = disks
        .into_iter()
        .find(|disk| disk.device_name.as_ref() == Some(&root_device));
    let root_gb = root
        .and_then(|disk| disk.ebs)
        .and_then(|volume| volume.volume_size);
    Some(Image {
        id: image.image_id?,
        name: image.name.unwrap_or_default(),
        architecture: image
            .architecture
            .map_or_else(String::new, |a| a.as_str().to_owned()),
        root_device,
        root_gb: root_gb
            .and_then(|gb| u32::try_from(gb).ok())
            .unwrap_or_default(),
    })
}
