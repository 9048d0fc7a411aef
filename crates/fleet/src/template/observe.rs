//! The templates that are there.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, LaunchTemplateVersion};
use onspot_reconcile::{STACK, ServiceResultExt};

use super::{CONTENT, Content, Parts, TemplateState, Version};
use crate::Error;
use crate::tagging::from_ec2;

/// All launch templates of the stack, by name.
///
/// # Errors
///
/// [`Error::Call`] if EC2 refuses a call or cannot be reached.
pub async fn observe(ec2: &Client, stack: &str) -> Result<BTreeMap<String, TemplateState>, Error> {
    let filter = Filter::builder()
        .name(format!("tag:{STACK}"))
        .values(stack)
        .build();
    let mut pages = ec2
        .describe_launch_templates()
        .filters(filter)
        .into_paginator()
        .send();
    let mut found = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let templates = page.calling("DescribeLaunchTemplates")?.launch_templates;
        for template in templates.unwrap_or_default() {
            let (Some(id), Some(name)) =
                (template.launch_template_id, template.launch_template_name)
            else {
                continue;
            };
            if let Some((default, latest)) = versions(ec2, &id).await? {
                let state = TemplateState {
                    id,
                    tags: from_ec2(template.tags),
                    default,
                    latest,
                };
                found.insert(name, state);
            }
        }
    }
    Ok(found)
}

/// The default and the newest version; `None` if the template was deleted meanwhile.
async fn versions(ec2: &Client, id: &str) -> Result<Option<(Version, Version)>, Error> {
    let call = ec2
        .describe_launch_template_versions()
        .launch_template_id(id);
    let call = call.versions("$Default").versions("$Latest");
    let answer = match call.send().await.calling("DescribeLaunchTemplateVersions") {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    let versions = answer.launch_template_versions.unwrap_or_default();
    let default = versions
        .iter()
        .find(|version| version.default_version == Some(true));
    let latest = versions.iter().max_by_key(|version| version.version_number);
    let (Some(default), Some(latest)) = (default.or(latest), latest) else {
        return Ok(None);
    };
    Ok(Some((of_ec2(default), of_ec2(latest))))
}

fn of_ec2(version: &LaunchTemplateVersion) -> Version {
    let data = version.launch_template_data.as_ref();
    Version {
        number: version.version_number.unwrap_or_default(),
        content: version.version_description.as_deref().and_then(content_of),
        image: data.and_then(|data| data.image_id.clone()),
        instance_type: data.and_then(|data| Some(data.instance_type.as_ref()?.as_str().to_owned())),
        parts: data.map(Parts::found).unwrap_or_default(),
    }
}

/// The description of a version that onspot made.
pub(super) fn description(content: &Content) -> String {
    format!("{CONTENT}={}", content.0)
}

/// Reads a [`description`].
fn content_of(description: &str) -> Option<Content> {
    let content = description.strip_prefix(CONTENT)?.strip_prefix('=')?;
    Some(Content(content.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_tells_its_content() {
        let content = Content("0123abcd".to_owned());
        assert_eq!(content_of(&description(&content)), Some(content));
        assert_eq!(content_of("made by hand"), None);
    }
}
