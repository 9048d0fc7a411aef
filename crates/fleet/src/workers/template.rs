//! Which workers were launched from something else than is launched now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{LaunchTemplateVersion, ResponseLaunchTemplateData};
use onspot_reconcile::ServiceResultExt as _;
use tokio::time::Instant;

use crate::template::{CONTENT, instance_tags};
use crate::{FleetError, Instance, InstanceId};

/// EC2's own tags on whatever was launched from a template. Nobody can edit them.
const TEMPLATE: &str = "aws:ec2launchtemplate:id";
const VERSION: &str = "aws:ec2launchtemplate:version";
/// How long what was learnt of a template is taken for true. It changes with an `up` alone.
const FRESH: Duration = Duration::from_mins(1);

/// What is known of a template, and of which workers it follows.
#[derive(Debug, Default)]
pub(super) struct Known {
    looked: Option<(Instant, Versions)>,
    outdated: BTreeSet<InstanceId>,
}

/// The versions of a template that matter: the one that launches use, and those that workers were
/// launched from.
#[derive(Debug, Clone, Default, PartialEq)]
struct Versions {
    template: String,
    default: Option<ResponseLaunchTemplateData>,
    by_number: BTreeMap<String, ResponseLaunchTemplateData>,
}

impl Known {
    /// The workers among `instances` that were launched from another content than launches use
    /// now.
    ///
    /// What is learnt of the template is kept for a minute; but nothing is called outdated before
    /// it was learnt anew, as the template may have got a new version a moment ago, and the worker
    /// may be of that.
    pub(super) async fn outdated(
        &mut self,
        client: &Client,
        template: &str,
        instances: &[Instance],
    ) -> Result<BTreeSet<InstanceId>, FleetError> {
        let fresh = self.looked.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
        if let Some((_, versions)) = fresh {
            let outdated = versions.outdated(instances);
            if outdated.is_subset(&self.outdated) {
                self.outdated.clone_from(&outdated);
                return Ok(outdated);
            }
        }
        let numbers = instances
            .iter()
            .filter_map(|instance| instance.tags.get(VERSION));
        let versions = look(client, template, &numbers.collect()).await?;
        self.outdated = versions.outdated(instances);
        self.looked = Some((Instant::now(), versions));
        Ok(self.outdated.clone())
    }
}

impl Versions {
    fn outdated(&self, instances: &[Instance]) -> BTreeSet<InstanceId> {
        let outdated = instances
            .iter()
            .filter(|instance| self.is_outdated(instance));
        outdated.map(|instance| instance.id.clone()).collect()
    }

    /// Two versions of one content are the same: only what an instance is made of counts.
    fn is_outdated(&self, instance: &Instance) -> bool {
        let Some(default) = &self.default else {
            return false;
        };
        match (instance.tags.get(TEMPLATE), instance.tags.get(VERSION)) {
            // Of a template of this name that was deleted since.
            (Some(template), _) if template != self.template => true,
            (Some(_), Some(version)) => self.by_number.get(version) != Some(default),
            // Not every look-alike of AWS sets these; then our own tag has to do.
            _ => match (
                instance.tags.get(CONTENT),
                instance_tags(default).get(CONTENT),
            ) {
                (Some(mine), Some(wanted)) => mine != wanted,
                _ => false,
            },
        }
    }
}

/// The default version and those with these numbers.
async fn look(
    client: &Client,
    template: &str,
    numbers: &BTreeSet<&str>,
) -> Result<Versions, FleetError> {
    const DEFAULT: &str = "$Default";
    let ask = async |numbers: &BTreeSet<&str>| {
        let mut call = client
            .describe_launch_template_versions()
            .launch_template_name(template)
            .versions(DEFAULT);
        for number in numbers {
            call = call.versions(*number);
        }
        let answer = call.send().await;
        answer.calling("DescribeLaunchTemplateVersions")
    };
    let answer = match ask(numbers).await {
        // Somebody has deleted a version: one that is not there is not the default's content.
        Err(error) if error.is_not_found() && !numbers.is_empty() => ask(&BTreeSet::new()).await?,
        answer => answer?,
    };
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
        self.template = version.launch_template_id.unwrap_or_default();
        if version.default_version == Some(true) {
            self.default = Some(data.clone());
        }
        self.by_number.insert(number.to_string(), data);
    }
}
