//! The managers' Auto Scaling group: it keeps the wanted number of managers alive.

mod apply;
mod failures;
mod observe;

use std::borrow::Cow;

use onspot_reconcile::{Change, Plan, Tags};
use serde::{Deserialize, Serialize};

pub use apply::{apply, destroy};
pub use observe::observe;

use crate::template::{CONTENT, Content};
use crate::{Error, InstanceId};

/// The role tag of managers.
pub const MANAGER: &str = "manager";

/// What the group should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSpec {
    /// The stack's name.
    pub stack: String,
    /// The group's name.
    pub name: String,
    /// The name of the managers' launch template.
    pub template: String,
    /// The content hash of the template that all managers should be made from.
    pub content: Content,
    /// The subnets of its instances.
    pub subnets: Vec<String>,
    /// How many managers: the group's minimum, maximum and desired size.
    pub count: u32,
    /// Further tags of the group and its instances.
    pub tags: Tags,
}

impl GroupSpec {
    /// The tags of the group, which it also gives to its instances.
    pub fn all_tags(&self) -> Tags {
        let mut tags = self.tags.clone();
        tags.extend([(onspot_reconcile::STACK, self.stack.as_str())]);
        tags.with_role(MANAGER)
            .with_name(&self.name)
            .with(CONTENT, &self.content.0)
    }
}

/// An instance of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// EC2's id.
    pub id: InstanceId,
    /// Whether it is healthy and in service.
    pub in_service: bool,
    /// The content that it was made from, by its tag.
    pub content: Option<Content>,
}

/// The group as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// Minimum, desired and maximum size.
    pub sizes: (i32, i32, i32),
    /// The subnets, ordered.
    pub subnets: Vec<String>,
    /// The content that new instances will be made from, by the launch template's version.
    pub content: Option<Content>,
    /// The group's tags.
    pub tags: Tags,
    /// Its instances.
    pub members: Vec<MemberState>,
}

/// Steps from what is there to what is wanted, or to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    spec: GroupSpec,
    actions: Vec<Action>,
    change: Option<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Update,
    /// Replaces the members that were made from other content.
    Renew,
    Delete,
}

impl GroupPlan {
    /// The plan as data for people and programs.
    pub fn plan(&self) -> Plan {
        self.change.iter().cloned().collect()
    }

    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

/// What has to be done to get from `observed` to `spec`. Pure.
///
/// # Errors
///
/// [`Error::Tag`] for a tag that AWS would refuse.
pub fn diff(spec: &GroupSpec, observed: Option<&GroupState>) -> Result<GroupPlan, Error> {
    let tags = spec.all_tags();
    tags.check()?;
    let Some(state) = observed else {
        let change = Change::create("auto scaling group", &spec.name)
            .setting("instances", spec.count.to_string())
            .setting("subnets", spec.subnets.join(", "));
        return Ok(GroupPlan {
            spec: spec.clone(),
            actions: vec![Action::Create],
            change: Some(change),
        });
    };
    let count = i32::try_from(spec.count).unwrap_or(i32::MAX);
    let mut details: Vec<(Cow<'_, str>, String, String)> = Vec::new();
    if state.sizes != (count, count, count) {
        let (min, wanted, max) = state.sizes;
        details.push((
            "instances".into(),
            format!("{wanted} ({min} to {max})"),
            count.to_string(),
        ));
    }
    let mut subnets = spec.subnets.clone();
    subnets.sort();
    if state.subnets != subnets {
        details.push((
            "subnets".into(),
            state.subnets.join(", "),
            subnets.join(", "),
        ));
    }
    if state.content.as_ref() != Some(&spec.content) {
        details.push((
            "launch template".into(),
            "older version".into(),
            "newest version".into(),
        ));
    }
    let drift = tags.drift(&state.tags);
    let drifted = drift.details().into_iter();
    details.extend(drifted.map(|(field, old, new)| (Cow::Owned(field), old, new)));
    let mut actions: Vec<Action> = details
        .first()
        .map(|_| Action::Update)
        .into_iter()
        .collect();
    let outdated = state
        .members
        .iter()
        .filter(|member| is_outdated(spec, member))
        .count();
    if outdated > 0 {
        details.push((
            "managers to replace".into(),
            outdated.to_string(),
            "0".into(),
        ));
        actions.push(Action::Renew);
    }
    let mut change = if actions.is_empty() {
        Change::keep("auto scaling group", &spec.name)
    } else {
        Change::update("auto scaling group", &spec.name)
    };
    for (field, old, new) in details {
        change = change.changing(field, old, new);
    }
    Ok(GroupPlan {
        spec: spec.clone(),
        actions,
        change: Some(change.with_id(&spec.name)),
    })
}

/// What has to be done to leave no group and no manager. Pure.
pub fn teardown(spec: &GroupSpec, observed: Option<&GroupState>) -> GroupPlan {
    let change = observed.map(|state| {
        let instances = state.members.len().to_string();
        Change::delete("auto scaling group", &spec.name)
            .with_id(&spec.name)
            .setting("instances", instances)
    });
    GroupPlan {
        spec: spec.clone(),
        actions: observed.iter().map(|_| Action::Delete).collect(),
        change,
    }
}

/// Whether a member was made from other content than wanted.
fn is_outdated(spec: &GroupSpec, member: &MemberState) -> bool {
    member.content.as_ref() != Some(&spec.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> GroupSpec {
        GroupSpec {
            stack: "ci".to_owned(),
            name: "onspot-ci-manager".to_owned(),
            template: "onspot-ci-manager".to_owned(),
            content: Content("new".to_owned()),
            subnets: vec!["subnet-b".to_owned(), "subnet-a".to_owned()],
            count: 1,
            tags: Tags::new(),
        }
    }

    /// The group as it is after the whole plan.
    fn as_wanted() -> GroupState {
        GroupState {
            sizes: (1, 1, 1),
            subnets: vec!["subnet-a".to_owned(), "subnet-b".to_owned()],
            content: Some(spec().content),
            tags: spec().all_tags(),
            members: vec![MemberState {
                id: InstanceId::from("i-1"),
                in_service: true,
                content: Some(spec().content),
            }],
        }
    }

    #[test]
    fn a_group_as_wanted_is_left_alone() {
        assert!(diff(&spec(), Some(&as_wanted())).unwrap().is_empty());
    }

    #[test]
    fn whatever_is_not_as_wanted_is_updated() {
        let spoilings: [fn(&mut GroupState); 4] = [
            |state| state.sizes = (0, 0, 1),
            |state| state.subnets.truncate(1),
            |state| state.content = None,
            |state| state.tags = Tags::new(),
        ];
        for spoil in spoilings {
            let mut state = as_wanted();
            spoil(&mut state);
            assert_eq!(
                diff(&spec(), Some(&state)).unwrap().actions,
                [Action::Update]
            );
        }
    }

    #[test]
    fn a_manager_of_an_older_version_is_replaced() {
        let mut state = as_wanted();
        state.members[0].content = Some(Content("old".to_owned()));
        let plan = diff(&spec(), Some(&state)).unwrap();
        assert_eq!(plan.actions, [Action::Renew]);
        insta::assert_snapshot!(plan.plan());
    }

    #[test]
    fn what_is_not_there_needs_no_removal() {
        assert!(teardown(&spec(), None).is_empty());
        assert_eq!(
            teardown(&spec(), Some(&as_wanted())).actions,
            [Action::Delete]
        );
    }
}
