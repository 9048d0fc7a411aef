//! The group as it is.

use aws_sdk_autoscaling::Client as AutoScaling;
use aws_sdk_autoscaling::types::{AutoScalingGroup, Instance, LifecycleState};
use aws_sdk_ec2::Client as Ec2;
use aws_sdk_ec2::types::Filter;
use onspot_reconcile::{CallError, ROLE, STACK, ServiceResultExt, Tags};

use super::{GroupState, MANAGER, MemberState};
use crate::template::{CONTENT, Content};
use crate::{Error, InstanceId, observed, template};

/// The group of this name; `None` if there is none or it is being deleted.
///
/// # Errors
///
/// [`Error::Call`] if AWS refuses a call or cannot be reached.
pub async fn observe(
    autoscaling: &AutoScaling,
    ec2: &Ec2,
    stack: &str,
    name: &str,
) -> Result<Option<GroupState>, Error> {
    let Some(group) = find(autoscaling, name)
        .await?
        .filter(|group| group.status.is_none())
    else {
        return Ok(None);
    };
    let size = |size: Option<i32>| size.unwrap_or_default();
    let sizes = (
        size(group.min_size),
        size(group.desired_capacity),
        size(group.max_size),
    );
    let subnets = group.vpc_zone_identifier.as_deref().unwrap_or_default();
    let mut subnets: Vec<String> = subnets
        .split(',')
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty())
        .collect();
    subnets.sort();
    Ok(Some(GroupState {
        sizes,
        subnets,
        content: content(&group, ec2, stack).await?,
        tags: tags(&group),
        members: members(&group, ec2, stack).await?,
    }))
}

/// The group as Auto Scaling describes it.
pub(super) async fn find(
    autoscaling: &AutoScaling,
    name: &str,
) -> Result<Option<AutoScalingGroup>, CallError> {
    let call = autoscaling
        .describe_auto_scaling_groups()
        .auto_scaling_group_names(name);
    let answer = call.send().await.calling("DescribeAutoScalingGroups")?;
    let groups = answer.auto_scaling_groups.unwrap_or_default().into_iter();
    Ok(groups
        .into_iter()
        .find(|group| group.auto_scaling_group_name.as_deref() == Some(name)))
}

/// The content of the launch template version that the group uses.
async fn content(
    group: &AutoScalingGroup,
    ec2: &Ec2,
    stack: &str,
) -> Result<Option<Content>, Error> {
    let Some(used) = &group.launch_template else {
        return Ok(None);
    };
    let templates = template::observe(ec2, stack).await?;
    let template = used
        .launch_template_name
        .as_ref()
        .and_then(|name| templates.get(name));
    let versions = template.map(|template| [&template.default, &template.latest]);
    let number = used
        .version
        .as_deref()
        .and_then(|version| version.parse::<i64>().ok());
    let version = versions
        .into_iter()
        .flatten()
        .find(|version| Some(version.number) == number);
    Ok(version.and_then(|version| version.content.clone()))
}

fn tags(group: &AutoScalingGroup) -> Tags {
    let pairs = group.tags().iter();
    pairs
        .filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default())))
        .collect()
}

/// The group's instances, each with the content that its tag names.
async fn members(
    group: &AutoScalingGroup,
    ec2: &Ec2,
    stack: &str,
) -> Result<Vec<MemberState>, Error> {
    let filters = [(STACK, stack), (ROLE, MANAGER)].map(|(key, value)| {
        Filter::builder()
            .name(format!("tag:{key}"))
            .values(value)
            .build()
    });
    let instances = observed::instances(ec2, filters.into()).await?;
    let content = |id: &str| {
        let instance = instances
            .iter()
            .find(|instance| instance.id.as_str() == id)?;
        instance
            .tags
            .get(CONTENT)
            .map(|content| Content(content.to_owned()))
    };
    let members = group.instances().iter().filter_map(|member| {
        let id = member.instance_id()?;
        Some(MemberState {
            id: InstanceId::new(id),
            in_service: in_service(member),
            content: content(id),
        })
    });
    Ok(members.collect())
}

/// Whether a member works, as far as Auto Scaling can tell.
fn in_service(member: &Instance) -> bool {
    let healthy = member
        .health_status()
        .is_none_or(|status| status.eq_ignore_ascii_case("healthy"));
    healthy && member.lifecycle_state() == Some(&LifecycleState::InService)
}
