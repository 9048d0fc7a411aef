//! Finds the workers that were launched from other content than launches use now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::describe_launch_template_versions::builders::DescribeLaunchTemplateVersionsFluentBuilder;
use aws_sdk_ec2::types::{LaunchTemplateVersion, ResponseLaunchTemplateData};
use onspot_reconcile::{CallError, ServiceResultExt as _};
use tokio::time::Instant;

use crate::template::{CONTENT, instance_tags};
use crate::{Error, Instance, InstanceId};

/// EC2's own tags on everything that was launched from a template. Nobody can edit them.
const TEMPLATE: &str = "aws:ec2launchtemplate:id";
const VERSION: &str = "aws:ec2launchtemplate:version";
/// How long a template's observed versions are trusted. Only an `up` changes them.
const FRESH: Duration = Duration::from_mins(1);

/// The workers' templates, and which workers are outdated by comparison with them.
#[derive(Debug, Default)]
pub(super) struct Known {
    looked: Option<(Instant, Templates)>,
    outdated: BTreeSet<InstanceId>,
}

/// The templates that workers were launched from, by id: the one for spot, the one for on demand,
/// and any that have been deleted since.
#[derive(Debug, Clone, Default, PartialEq)]
struct Templates(BTreeMap<String, Versions>);

/// The relevant versions of a template: the one that launches use, and those that workers were
/// launched from. A deleted template has none.
#[derive(Debug, Clone, Default, PartialEq)]
struct Versions {
    default: Option<ResponseLaunchTemplateData>,
    by_number: BTreeMap<String, ResponseLaunchTemplateData>,
}

impl Known {
    /// The workers among `instances` that were launched from other content than launches use now.
    ///
    /// The templates' versions are cached for a minute. A worker is called outdated only after a
    /// fresh look, because it may come from a version that is newer than the cache.
    pub(super) async fn outdated(
        &mut self,
        client: &Client,
        template: &str,
        instances: &[Instance],
    ) -> Result<BTreeSet<InstanceId>, Error> {
        let fresh = self.looked.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
        if let Some((_, templates)) = fresh {
            let outdated = templates.outdated(instances);
            if outdated.is_subset(&self.outdated) {
                self.outdated.clone_from(&outdated);
                return Ok(outdated);
            }
        }
        let templates = look(client, template, instances).await?;
        self.outdated = templates.outdated(instances);
        self.looked = Some((Instant::now(), templates));
        Ok(self.outdated.clone())
    }
}

impl Templates {
    fn outdated(&self, instances: &[Instance]) -> BTreeSet<InstanceId> {
        let outdated = instances
            .iter()
            .filter(|instance| self.is_outdated(instance));
        outdated.map(|instance| instance.id.clone()).collect()
    }

    /// Two versions with the same content are equal, because only what an instance is made of
    /// counts.
    fn is_outdated(&self, instance: &Instance) -> bool {
        match (instance.tags.get(TEMPLATE), instance.tags.get(VERSION)) {
            (Some(template), Some(version)) => self.0.get(template).is_none_or(|versions| {
                let default = versions.default.as_ref();
                default.is_none() || versions.by_number.get(version) != default
            }),
            // Not every look-alike of AWS sets these tags; then onspot's own tag, which is the same
            // in all of a runner's templates, has to do.
            _ => instance.tags.get(CONTENT).is_some_and(|mine| {
                let defaults = self.0.values().filter_map(|known| known.default.as_ref());
                let mut wanted = defaults.filter_map(|default| {
                    let tags = instance_tags(default);
                    tags.get(CONTENT).map(str::to_owned)
                });
                wanted.next().is_some_and(|wanted| wanted != mine)
            }),
        }
    }
}

/// The templates of the workers; if no worker names one, the template of this name.
async fn look(client: &Client, name: &str, instances: &[Instance]) -> Result<Templates, Error> {
    let mut numbers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for instance in instances {
        let tags = &instance.tags;
        if let (Some(template), Some(version)) = (tags.get(TEMPLATE), tags.get(VERSION)) {
            numbers.entry(template).or_default().insert(version);
        }
    }
    let versions = client.describe_launch_template_versions();
    if numbers.is_empty() {
        let call = versions.launch_template_name(name);
        let found = ask(call, &BTreeSet::new()).await?;
        return Ok(Templates([(name.to_owned(), found)].into()));
    }
    let mut templates = Templates::default();
    for (id, numbers) in numbers {
        let call = versions.clone().launch_template_id(id);
        let found = match ask(call.clone(), &numbers).await {
            // Somebody has deleted a version. A version that is gone differs from the default's
            // content.
            Err(error) if error.is_not_found() => match ask(call, &BTreeSet::new()).await {
                // Somebody has deleted the whole template.
                Err(error) if error.is_not_found() => Versions::default(),
                found => found?,
            },
            found => found?,
        };
        templates.0.insert(id.to_owned(), found);
    }
    Ok(templates)
}

/// The default version and those with these numbers.
async fn ask(
    mut call: DescribeLaunchTemplateVersionsFluentBuilder,
    numbers: &BTreeSet<&str>,
) -> Result<Versions, CallError> {
    const DEFAULT: &str = "$Default";
    call = call.versions(DEFAULT);
    for number in numbers {
        call = call.versions(*number);
    }
    let answer = call.send().await;
    let answer = answer.calling("DescribeLaunchTemplateVersions")?;
    let mut versions = Versions::default();
    for version in answer.launch_template_versions.unwrap_or_default() {
        versions.take_in(version);
    }
    Ok(versions)
}

impl Versions {
    fn take_in(&mut self, version: LaunchTemplateVersion) {
        let (Some(number), Some(data)) = (version.version_number, version.launch_template_data)
        else {
            return;
        };
        if version.default_version == Some(true) {
            self.default = Some(data.clone());
        }
        self.by_number.insert(number.to_string(), data);
    }
}
