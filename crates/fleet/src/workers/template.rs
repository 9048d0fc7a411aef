//! Which workers were launched from something else than is launched now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::describe_launch_template_versions::builders::DescribeLaunchTemplateVersionsFluentBuilder;
use aws_sdk_ec2::types::{LaunchTemplateVersion, ResponseLaunchTemplateData};
use onspot_reconcile::{CallError, ServiceResultExt as _};
use tokio::time::Instant;

use crate::template::{CONTENT, instance_tags};
use crate::{Error, Instance, InstanceId};

/// EC2's own tags on whatever was launched from a template. Nobody can edit them.
const TEMPLATE: &str = "aws:ec2launchtemplate:id";
const VERSION: &str = "aws:ec2launchtemplate:version";
/// How long what was learnt of a template is taken for true. It changes with an `up` alone.
const FRESH: Duration = Duration::from_mins(1);

/// What is known of the workers' templates, and of which workers that makes outdated.
#[derive(Debug, Default)]
pub(super) struct Known {
    looked: Option<(Instant, Templates)>,
    outdated: BTreeSet<InstanceId>,
}

/// The templates that workers were launched from, by id: that for spot, that for on demand, and any
/// that has gone since.
#[derive(Debug, Clone, Default, PartialEq)]
struct Templates(BTreeMap<String, Versions>);

/// The versions of a template that matter: the one that launches use, and those that workers were
/// launched from. Of one that has gone there is none.
#[derive(Debug, Clone, Default, PartialEq)]
struct Versions {
    default: Option<ResponseLaunchTemplateData>,
    by_number: BTreeMap<String, ResponseLaunchTemplateData>,
}

impl Known {
    /// The workers among `instances` that were launched from another content than launches use
    /// now.
    ///
    /// What is learnt of the templates is kept for a minute; but nothing is called outdated before
    /// it was learnt anew, as a template may have got a new version a moment ago, and the worker
    /// may be of that.
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

    /// Two versions of one content are the same: only what an instance is made of counts.
    fn is_outdated(&self, instance: &Instance) -> bool {
        match (instance.tags.get(TEMPLATE), instance.tags.get(VERSION)) {
            (Some(template), Some(version)) => self.0.get(template).is_none_or(|versions| {
                let default = versions.default.as_ref();
                default.is_none() || versions.by_number.get(version) != default
            }),
            // Not every look-alike of AWS sets these; then our own tag has to do. It is the same
            // in all of a runner's templates.
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

/// The templates of the workers; if they don't tell, the one of this name.
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
            // Somebody has deleted a version: one that is not there is not the default's content.
            Err(error) if error.is_not_found() => match ask(call, &BTreeSet::new()).await {
                // Or the whole template.
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
