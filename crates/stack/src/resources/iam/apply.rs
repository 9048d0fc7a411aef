//! Makes and removes roles and profiles. A resource that already exists, or is already gone, is no
//! error, because an earlier run may have been cut off between two calls.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_iam::Client;
use aws_sdk_iam::types::Tag;
use onspot_reconcile::{CallError, EventSender, Patience, ServiceResultExt as _, TagDrift, Tags};
use serde_json::Value;

use super::{Action, IamPlan, POLICY, RoleSpec, ServiceLinkedRole};
use crate::step::report;

/// How long a new role or profile may stay unknown to other calls.
const SETTLING: Patience = Patience::new(Duration::from_secs(2), Duration::from_mins(1));

/// Carries out `plan`; returns the unique ids of all roles, by name.
///
/// # Errors
///
/// [`CallError`] if IAM refuses a call or cannot be reached.
pub async fn apply(
    iam: &Client,
    plan: &IamPlan,
    events: &EventSender,
) -> Result<BTreeMap<String, String>, CallError> {
    let mut ids = plan.ids.clone();
    for step in &plan.steps {
        let Some(action) = &step.action else { continue };
        let made = report(events, &step.change, act(iam, action)).await?;
        ids.extend(made);
    }
    Ok(ids)
}

/// Carries out a [`teardown`](super::teardown) plan.
///
/// # Errors
///
/// [`CallError`] if IAM refuses a call or cannot be reached.
pub async fn destroy(iam: &Client, plan: &IamPlan, events: &EventSender) -> Result<(), CallError> {
    apply(iam, plan, events).await.map(drop)
}

/// Does one action; returns the name and id of the role that it made.
async fn act(iam: &Client, action: &Action) -> Result<Option<(String, String)>, CallError> {
    match action {
        Action::CreateServiceLinked(role) => create_service_linked(iam, *role).await?,
        Action::CreateRole(role, trust) => {
            let id = create_role(iam, role, trust).await?;
            return Ok(Some((role.name.clone(), id)));
        }
        Action::UpdateRole {
            role,
            trust,
            policy,
            tags,
        } => {
            if let Some(trust) = trust {
                set_trust(iam, &role.name, trust).await?;
            }
            if *policy {
                set_policy(iam, role).await?;
            }
            tag_role(iam, &role.name, tags).await?;
        }
        Action::DeleteRole { name } => delete_role(iam, name).await?,
        Action::CreateProfile(role) => {
            let call = iam
                .create_instance_profile()
                .instance_profile_name(&role.name)
                .path(&role.path)
                .set_tags(Some(sdk(&role.tags)));
            unless_there(call.send().await.calling("CreateInstanceProfile"))?;
            link(iam, &role.name, &role.name).await?;
        }
        Action::TagProfile { profile, tags } => tag_profile(iam, profile, tags).await?,
        Action::LinkProfile { profile, role } => link(iam, profile, role).await?,
        Action::DeleteProfile { name, roles } => delete_profile(iam, name, roles).await?,
    }
    Ok(None)
}

async fn create_service_linked(iam: &Client, role: ServiceLinkedRole) -> Result<(), CallError> {
    let call = iam
        .create_service_linked_role()
        .aws_service_name(role.service())
        .send()
        .await;
    match call.calling("CreateServiceLinkedRole") {
        // IAM's way to say that it exists: InvalidInput, "… has been taken in this account".
        Err(error) if error.message().contains("has been taken") => Ok(()),
        other => other.map(drop),
    }
}

async fn create_role(iam: &Client, role: &RoleSpec, trust: &Value) -> Result<String, CallError> {
    let created = iam
        .create_role()
        .role_name(&role.name)
        .path(&role.path)
        .assume_role_policy_document(trust.to_string())
        .description("Made by onspot")
        .set_tags(Some(sdk(&role.tags)))
        .send()
        .await
        .calling("CreateRole");
    let id = match created {
        Ok(answer) => answer.role.map(|role| role.role_id),
        Err(error) if error.is_already_there() => None,
        Err(error) => return Err(error),
    };
    let id = if let Some(id) = id {
        id
    } else {
        let answer = iam
            .get_role()
            .role_name(&role.name)
            .send()
            .await
            .calling("GetRole")?;
        answer.role.map(|role| role.role_id).unwrap_or_default()
    };
    set_policy(iam, role).await?;
    Ok(id)
}

async fn set_policy(iam: &Client, role: &RoleSpec) -> Result<(), CallError> {
    SETTLING
        .retry(CallError::is_not_found, async || {
            let call = iam
                .put_role_policy()
                .role_name(&role.name)
                .policy_name(POLICY)
                .policy_document(role.policy.to_string());
            call.send().await.calling("PutRolePolicy").map(drop)
        })
        .await
}

async fn tag_role(iam: &Client, role: &str, drift: &TagDrift) -> Result<(), CallError> {
    let untag = async |keys: Vec<String>| {
        if keys.is_empty() {
            return Ok(());
        }
        let call = iam.untag_role().role_name(role).set_tag_keys(Some(keys));
        call.send().await.calling("UntagRole").map(drop)
    };
    let (first, last) = keys(drift);
    untag(first).await?;
    if !drift.set().is_empty() {
        let call = iam.tag_role().role_name(role);
        let call = call.set_tags(Some(sdk(drift.set()))).send().await;
        call.calling("TagRole")?;
    }
    untag(last).await
}

async fn tag_profile(iam: &Client, profile: &str, drift: &TagDrift) -> Result<(), CallError> {
    let untag = async |keys: Vec<String>| {
        if keys.is_empty() {
            return Ok(());
        }
        let call = iam.untag_instance_profile().instance_profile_name(profile);
        let call = call.set_tag_keys(Some(keys)).send().await;
        call.calling("UntagInstanceProfile").map(drop)
    };
    let (first, last) = keys(drift);
    untag(first).await?;
    if !drift.set().is_empty() {
        let call = iam.tag_instance_profile().instance_profile_name(profile);
        let call = call.set_tags(Some(sdk(drift.set()))).send().await;
        call.calling("TagInstanceProfile")?;
    }
    untag(last).await
}

async fn set_trust(iam: &Client, role: &str, trust: &Value) -> Result<(), CallError> {
    let call = iam
        .update_assume_role_policy()
        .role_name(role)
        .policy_document(trust.to_string());
    call.send()
        .await
        .calling("UpdateAssumeRolePolicy")
        .map(drop)
}

async fn link(iam: &Client, profile: &str, role: &str) -> Result<(), CallError> {
    let added = SETTLING
        .retry(CallError::is_not_found, async || {
            let call = iam
                .add_role_to_instance_profile()
                .instance_profile_name(profile)
                .role_name(role);
            call.send().await.calling("AddRoleToInstanceProfile")
        })
        .await;
    match added {
        // A profile holds one role: LimitExceeded means that it is in there already.
        Err(error) if error.code() == Some("LimitExceeded") => Ok(()),
        other => unless_there(other),
    }
}

async fn delete_profile(iam: &Client, name: &str, roles: &[String]) -> Result<(), CallError> {
    for role in roles {
        let call = iam
            .remove_role_from_instance_profile()
            .instance_profile_name(name)
            .role_name(role);
        unless_gone(call.send().await.calling("RemoveRoleFromInstanceProfile"))?;
    }
    let call = iam.delete_instance_profile().instance_profile_name(name);
    unless_gone(call.send().await.calling("DeleteInstanceProfile"))
}

/// IAM deletes a role only once it has no policies, including those that somebody else attached.
async fn delete_role(iam: &Client, name: &str) -> Result<(), CallError> {
    let inline = iam.list_role_policies().role_name(name).send().await;
    let inline = match inline.calling("ListRolePolicies") {
        Ok(answer) => answer.policy_names,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    };
    for policy in inline {
        let call = iam.delete_role_policy().role_name(name).policy_name(policy);
        unless_gone(call.send().await.calling("DeleteRolePolicy"))?;
    }
    let attached = iam
        .list_attached_role_policies()
        .role_name(name)
        .send()
        .await;
    let attached = attached
        .calling("ListAttachedRolePolicies")?
        .attached_policies;
    for policy in attached.unwrap_or_default() {
        let call = iam
            .detach_role_policy()
            .role_name(name)
            .set_policy_arn(policy.policy_arn);
        unless_gone(call.send().await.calling("DetachRolePolicy"))?;
    }
    unless_gone(
        iam.delete_role()
            .role_name(name)
            .send()
            .await
            .calling("DeleteRole"),
    )
}

fn unless_there<T>(result: Result<T, CallError>) -> Result<(), CallError> {
    match result {
        Err(error) if error.is_already_there() => Ok(()),
        other => other.map(drop),
    }
}

fn unless_gone<T>(result: Result<T, CallError>) -> Result<(), CallError> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

/// The keys to take off before and after the others are set. To IAM, keys that differ only in
/// capitals are the same: such an old key would take the new one with it.
fn keys(drift: &TagDrift) -> (Vec<String>, Vec<String>) {
    let is_set = |old: &String| {
        let mut set = drift.set().iter();
        set.any(|(new, _)| new.eq_ignore_ascii_case(old))
    };
    drift.removed_keys().map(str::to_owned).partition(is_set)
}

fn sdk(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build();
    // `build` fails only without a key or a value.
    tags.iter().filter_map(|pair| tag(pair).ok()).collect()
}

#[cfg(test)]
mod tests {
    use onspot_reconcile::NOTES;

    use super::*;

    #[test]
    fn a_key_that_only_changes_its_capitals_is_taken_off_before_it_is_set() {
        let found = Tags::new()
            .with("Team", "a")
            .with("Floor", "2")
            .with(NOTES, "Team Floor");
        let wanted = Tags::new().with("team", "a").with(NOTES, "team");
        let (first, last) = keys(&wanted.drift(&found));
        assert_eq!((first, last), (vec!["Team".into()], vec!["Floor".into()]));
    }
}
