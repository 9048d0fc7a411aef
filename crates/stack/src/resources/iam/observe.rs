//! The roles and profiles under a stack's path.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::Client;
use aws_sdk_iam::types::{InstanceProfile, Role};
use onspot_reconcile::{CallError, ServiceResultExt as _, Tags};
use serde_json::Value;

use super::{POLICY, ServiceLinkedRole};

/// A role that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleState {
    /// Its unique id, `AROA…`: the first half of its instances' `aws:userid`.
    pub id: String,
    /// Who may assume it.
    pub trust: Value,
    /// Its inline policy named `onspot`.
    pub policy: Option<Value>,
    /// Its tags.
    pub tags: Tags,
}

/// An instance profile that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileState {
    /// Its unique id.
    pub id: String,
    /// The names of the roles in it: none or one.
    pub roles: Vec<String>,
    /// Its tags.
    pub tags: Tags,
}

/// All of a stack's roles and profiles, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// The roles.
    pub roles: BTreeMap<String, RoleState>,
    /// The instance profiles.
    pub profiles: BTreeMap<String, ProfileState>,
    /// The service-linked roles that the account has.
    pub service_linked: BTreeSet<ServiceLinkedRole>,
}

impl Observed {
    /// The unique ids of the roles, by name.
    pub fn ids(&self) -> BTreeMap<String, String> {
        self.roles
            .iter()
            .map(|(name, role)| (name.clone(), role.id.clone()))
            .collect()
    }
}

/// Everything under `path`.
///
/// # Errors
///
/// [`CallError`] if IAM refuses a call or cannot be reached.
pub async fn observe(iam: &Client, path: &str) -> Result<Observed, CallError> {
    let (roles, profiles, service_linked) =
        tokio::try_join!(roles(iam, path), profiles(iam, path), service_linked(iam))?;
    Ok(Observed {
        roles,
        profiles,
        service_linked,
    })
}

async fn roles(iam: &Client, path: &str) -> Result<BTreeMap<String, RoleState>, CallError> {
    let mut pages = iam
        .list_roles()
        .path_prefix(path)
        .into_paginator()
        .items()
        .send();
    let mut found = BTreeMap::new();
    while let Some(role) = pages.next().await {
        let role = role.calling("ListRoles")?;
        // Look-alikes may not filter by the prefix.
        if role.path != path {
            continue;
        }
        let name = role.role_name.clone();
        if let Some(state) = role_state(iam, role).await? {
            found.insert(name, state);
        }
    }
    Ok(found)
}

/// `None` if the role has been deleted in the meantime.
async fn role_state(iam: &Client, role: Role) -> Result<Option<RoleState>, CallError> {
    let name = &role.role_name;
    let policy = iam
        .get_role_policy()
        .role_name(name)
        .policy_name(POLICY)
        .send()
        .await;
    let policy = match policy.calling("GetRolePolicy") {
        Ok(policy) => Some(document(&policy.policy_document)),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let tags = match iam
        .list_role_tags()
        .role_name(name)
        .send()
        .await
        .calling("ListRoleTags")
    {
        Ok(tags) => tags
            .tags
            .into_iter()
            .map(|tag| (tag.key, tag.value))
            .collect(),
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let trust = role
        .assume_role_policy_document
        .as_deref()
        .map_or(Value::Null, document);
    Ok(Some(RoleState {
        id: role.role_id,
        trust,
        policy,
        tags,
    }))
}

async fn profiles(iam: &Client, path: &str) -> Result<BTreeMap<String, ProfileState>, CallError> {
    let mut pages = iam
        .list_instance_profiles()
        .path_prefix(path)
        .into_paginator()
        .items()
        .send();
    let mut found = BTreeMap::new();
    while let Some(profile) = pages.next().await {
        let profile: InstanceProfile = profile.calling("ListInstanceProfiles")?;
        if profile.path != path {
            continue;
        }
        let name = profile.instance_profile_name;
        if let Some(state) = profile_state(iam, &name).await? {
            found.insert(name, state);
        }
    }
    Ok(found)
}

/// `None` if the profile has been deleted in the meantime. A list leaves out the tags (API
/// reference of `ListInstanceProfiles`).
async fn profile_state(iam: &Client, name: &str) -> Result<Option<ProfileState>, CallError> {
    let call = iam.get_instance_profile().instance_profile_name(name);
    let profile = match call.send().await.calling("GetInstanceProfile") {
        Ok(answer) => answer.instance_profile,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(profile.map(|profile| {
        let roles = profile.roles.into_iter().map(|role| role.role_name);
        let tags = profile.tags.unwrap_or_default().into_iter();
        ProfileState {
            id: profile.instance_profile_id,
            roles: roles.collect(),
            tags: tags.map(|tag| (tag.key, tag.value)).collect(),
        }
    }))
}

async fn service_linked(iam: &Client) -> Result<BTreeSet<ServiceLinkedRole>, CallError> {
    let mut found = BTreeSet::new();
    for role in ServiceLinkedRole::ALL {
        // By the service's path, because AWS chooses their names.
        let path = format!("/aws-service-role/{}/", role.service());
        let answer = iam
            .list_roles()
            .path_prefix(&path)
            .send()
            .await
            .calling("ListRoles")?;
        if answer.roles.iter().any(|role| role.path == path) {
            found.insert(role);
        }
    }
    Ok(found)
}

/// A policy as IAM gives it: JSON, percent-encoded (RFC 3986). Look-alikes of AWS wrap it in
/// another JSON string.
fn document(text: &str) -> Value {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    match serde_json::from_str(&decoded) {
        Ok(Value::String(quoted)) => serde_json::from_str(&quoted).unwrap_or(Value::Null),
        Ok(document) => document,
        Err(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_decoded() {
        let wanted = json!({ "Version": "2012-10-17" });
        assert_eq!(document("%7B%22Version%22%3A%222012-10-17%22%7D"), wanted);
        assert_eq!(document(r#"{"Version":"2012-10-17"}"#), wanted);
        assert_eq!(document(r#""{\"Version\":\"2012-10-17\"}""#), wanted);
        assert_eq!(document("?"), Value::Null);
    }
}
