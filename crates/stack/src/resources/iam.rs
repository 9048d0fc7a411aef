//! Roles and instance profiles: one for the managers and one for the workers of each runner, each
//! with the fewest permissions that suffice. There are no users and no access keys.

mod apply;
mod observe;
mod policy;
mod service_linked;

use std::collections::BTreeMap;

use onspot_reconcile::{Change, Plan, TagDrift, Tags};
use serde_json::Value;

pub use apply::{apply, destroy};
pub use observe::{Observed, ProfileState, RoleState, observe};
pub use policy::{ManagerGrant, WorkerGrant, manager_policy, trust_policy, worker_policy};
pub use service_linked::ServiceLinkedRole;

use crate::step::{Planned, plan_of};

/// The name of a role's one inline policy.
pub(crate) const POLICY: &str = "onspot";

/// A role with an instance profile of the same name.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleSpec {
    /// The name of both.
    pub name: String,
    /// The path of both, by which onspot finds them again.
    pub path: String,
    /// What it may do.
    pub policy: Value,
    /// The tags of both.
    pub tags: Tags,
}

/// What a stack needs from IAM.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The path of all of its roles.
    pub path: String,
    /// The roles.
    pub roles: Vec<RoleSpec>,
    /// Who may assume them: EC2 on behalf of its instances.
    pub trust: Value,
}

/// A call, or some that belong together.
#[derive(Debug, Clone, PartialEq)]
enum Action {
    CreateServiceLinked(ServiceLinkedRole),
    CreateRole(Box<RoleSpec>, Value),
    UpdateRole {
        role: Box<RoleSpec>,
        trust: Option<Value>,
        policy: bool,
        tags: TagDrift,
    },
    TagProfile {
        profile: String,
        tags: TagDrift,
    },
    DeleteRole {
        name: String,
    },
    CreateProfile(Box<RoleSpec>),
    LinkProfile {
        profile: String,
        role: String,
    },
    DeleteProfile {
        name: String,
        roles: Vec<String>,
    },
}

/// Steps from what is there to what is wanted, or to nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct IamPlan {
    steps: Vec<Planned<Action>>,
    /// The ids of the roles that are there.
    ids: BTreeMap<String, String>,
}

impl IamPlan {
    /// The plan as data for people and programs.
    pub fn plan(&self) -> Plan {
        plan_of(&self.steps)
    }
}

/// What has to be done to get from `observed` to `desired`. Roles under the stack's path that
/// are not wanted any more are removed, except those in `in_use`. Pure.
pub fn diff(desired: &Desired, observed: &Observed, in_use: &[String]) -> IamPlan {
    let mut steps: Vec<_> = ServiceLinkedRole::ALL
        .into_iter()
        .map(|role| {
            if observed.service_linked.contains(&role) {
                Planned::keep(Change::keep(ServiceLinkedRole::RESOURCE, role.name()))
            } else {
                Planned::act(
                    Change::create(ServiceLinkedRole::RESOURCE, role.name()),
                    Action::CreateServiceLinked(role),
                )
            }
        })
        .collect();
    for role in &desired.roles {
        steps.push(role_step(
            role,
            &desired.trust,
            observed.roles.get(&role.name),
        ));
        steps.push(profile_step(role, observed.profiles.get(&role.name)));
    }
    let wanted = |name: &String| desired.roles.iter().any(|role| role.name == *name);
    steps.extend(deletions(observed, |name| {
        !wanted(name) && !in_use.contains(name)
    }));
    IamPlan {
        steps,
        ids: observed.ids(),
    }
}

/// What has to be done to leave nothing under the stack's path. Service-linked roles belong to
/// the account, not to the stack, and stay. Pure.
pub fn teardown(observed: &Observed) -> IamPlan {
    IamPlan {
        steps: deletions(observed, |_| true).collect(),
        ids: observed.ids(),
    }
}

fn role_step(role: &RoleSpec, trust: &Value, found: Option<&RoleState>) -> Planned<Action> {
    let Some(found) = found else {
        let change = Change::create("role", &role.name);
        return Planned::act(
            change,
            Action::CreateRole(Box::new(role.clone()), trust.clone()),
        );
    };
    let mut change = Change::update("role", &role.name).with_id(&found.id);
    let new_trust = (found.trust != *trust).then(|| trust.clone());
    if new_trust.is_some() {
        change = change.changing("trust", "other", "EC2");
    }
    let policy = found.policy.as_ref() != Some(&role.policy);
    if policy {
        let old = if found.policy.is_some() {
            "other"
        } else {
            "none"
        };
        change = change.changing("policy", old, "as designed");
    }
    let tags = role.tags.drift(&found.tags);
    change = tags.shown_in(change);
    if new_trust.is_none() && !policy && tags.is_empty() {
        return Planned::keep(Change::keep("role", &role.name).with_id(&found.id));
    }
    let role = Box::new(role.clone());
    Planned::act(
        change,
        Action::UpdateRole {
            role,
            trust: new_trust,
            policy,
            tags,
        },
    )
}

fn profile_step(role: &RoleSpec, found: Option<&ProfileState>) -> Planned<Action> {
    const RESOURCE: &str = "instance profile";
    match found {
        None => Planned::act(
            Change::create(RESOURCE, &role.name),
            Action::CreateProfile(Box::new(role.clone())),
        ),
        Some(profile) if profile.roles.contains(&role.name) => {
            let tags = role.tags.drift(&profile.tags);
            if tags.is_empty() {
                return Planned::keep(Change::keep(RESOURCE, &role.name).with_id(&profile.id));
            }
            let change = Change::update(RESOURCE, &role.name).with_id(&profile.id);
            let profile = role.name.clone();
            Planned::act(tags.shown_in(change), Action::TagProfile { profile, tags })
        }
        Some(profile) => Planned::act(
            Change::update(RESOURCE, &role.name)
                .with_id(&profile.id)
                .changing("role", "none", &role.name),
            Action::LinkProfile {
                profile: role.name.clone(),
                role: role.name.clone(),
            },
        ),
    }
}

/// Profiles first, because IAM does not delete a role that is in a profile.
fn deletions<'a>(
    observed: &'a Observed,
    unwanted: impl Fn(&String) -> bool + 'a,
) -> impl Iterator<Item = Planned<Action>> + 'a {
    let profiles: Vec<_> = observed
        .profiles
        .iter()
        .filter(|(name, _)| unwanted(name))
        .map(|(name, profile)| {
            Planned::act(
                Change::delete("instance profile", name).with_id(&profile.id),
                Action::DeleteProfile {
                    name: name.clone(),
                    roles: profile.roles.clone(),
                },
            )
        })
        .collect();
    let roles: Vec<_> = observed
        .roles
        .iter()
        .filter(|(name, _)| unwanted(name))
        .map(|(name, role)| {
            Planned::act(
                Change::delete("role", name).with_id(&role.id),
                Action::DeleteRole { name: name.clone() },
            )
        })
        .collect();
    profiles.into_iter().chain(roles)
}

#[cfg(test)]
mod tests;
