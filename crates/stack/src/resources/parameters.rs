//! The runners' tokens as SSM parameters: encrypted, and readable for the managers' role only.

use std::collections::BTreeMap;

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{ParameterType, ResourceTypeForTagging, Tag};
use onspot_gitlab::RunnerToken;
use onspot_reconcile::{
    CallError, Change, EventSender, Plan, ServiceResultExt as _, TagDrift, Tags,
};

use crate::step::{Planned, plan_of, report};

/// What plans call it.
const RESOURCE: &str = "ssm parameter";

/// A token that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenParameter {
    pub(crate) name: String,
    pub(crate) token: RunnerToken,
    pub(crate) tags: Tags,
}

/// A parameter that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) token: RunnerToken,
    pub(crate) tags: Tags,
}

/// The parameters that are there, by name.
pub(crate) type Observed = BTreeMap<String, Stored>;

#[derive(Debug, Clone)]
enum Action {
    Put(TokenParameter),
    Update {
        parameter: TokenParameter,
        value: bool,
        tags: TagDrift,
    },
    Delete {
        name: String,
    },
}

/// Steps from what is there to what is wanted, or to nothing.
#[derive(Debug, Clone)]
pub(crate) struct ParameterPlan {
    steps: Vec<Planned<Action>>,
}

impl ParameterPlan {
    /// The plan as data; tokens are not in it.
    pub(crate) fn plan(&self) -> Plan {
        plan_of(&self.steps)
    }
}

/// All parameters under `path`.
pub(crate) async fn observe(ssm: &Client, path: &str) -> Result<Observed, CallError> {
    let mut pages = ssm
        .get_parameters_by_path()
        .path(path)
        .recursive(true)
        .with_decryption(true)
        .into_paginator()
        .send();
    let mut found = Observed::new();
    while let Some(page) = pages.next().await {
        let page = page.calling("GetParametersByPath")?;
        for parameter in page.parameters.unwrap_or_default() {
            if let (Some(name), Some(value)) = (parameter.name, parameter.value) {
                let tags = tags(ssm, &name).await?;
                let token = RunnerToken::new(value);
                found.insert(name, Stored { token, tags });
            }
        }
    }
    Ok(found)
}

/// The tags of a parameter; none if it is being deleted.
async fn tags(ssm: &Client, name: &str) -> Result<Tags, CallError> {
    let call = ssm
        .list_tags_for_resource()
        .resource_type(ResourceTypeForTagging::Parameter)
        .resource_id(name);
    match call.send().await.calling("ListTagsForResource") {
        Ok(answer) => {
            let tags = answer.tag_list.unwrap_or_default().into_iter();
            Ok(tags.map(|tag| (tag.key, tag.value)).collect())
        }
        Err(error) if error.is_not_found() => Ok(Tags::new()),
        Err(error) => Err(error),
    }
}

/// The value of one parameter, wherever it is; `None` if there is none.
pub(crate) async fn read(ssm: &Client, name: &str) -> Result<Option<RunnerToken>, CallError> {
    let answer = ssm
        .get_parameter()
        .name(name)
        .with_decryption(true)
        .send()
        .await;
    match answer.calling("GetParameter") {
        Ok(answer) => Ok(answer
            .parameter
            .and_then(|parameter| parameter.value)
            .map(RunnerToken::new)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name as SSM lists it, for a name as people write it: with or without the leading slash, as
/// an ARN, with a version or label at the end.
pub(crate) fn full_name(written: &str) -> String {
    let name = match written.split_once(":parameter/") {
        Some((arn, name)) if arn.starts_with("arn:") => name,
        _ => written,
    };
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    format!("/{}", name.trim_start_matches('/'))
}

/// What has to be done to get from `observed` to `desired`. Parameters that are neither wanted nor
/// `referenced` are deleted. Pure.
pub(crate) fn diff(
    desired: &[TokenParameter],
    referenced: &[String],
    observed: &Observed,
) -> ParameterPlan {
    let mut steps: Vec<_> = desired
        .iter()
        .map(|wanted| {
            let found = observed.get(&wanted.name);
            found.map_or_else(|| creation(wanted), |found| update(wanted, found))
        })
        .collect();
    let unwanted = |name: &&String| {
        !desired.iter().any(|wanted| wanted.name == **name)
            && !referenced.iter().any(|kept| full_name(kept) == **name)
    };
    steps.extend(observed.keys().filter(unwanted).map(deletion));
    ParameterPlan { steps }
}

/// What has to be done to leave nothing. Pure.
pub(crate) fn teardown(observed: &Observed) -> ParameterPlan {
    ParameterPlan {
        steps: observed.keys().map(deletion).collect(),
    }
}

fn creation(wanted: &TokenParameter) -> Planned<Action> {
    let change = Change::create(RESOURCE, &wanted.name);
    Planned::act(change, Action::Put(wanted.clone()))
}

fn update(wanted: &TokenParameter, found: &Stored) -> Planned<Action> {
    let (value, tags) = (found.token != wanted.token, wanted.tags.drift(&found.tags));
    if !value && tags.is_empty() {
        return Planned::keep(Change::keep(RESOURCE, &wanted.name));
    }
    let mut change = Change::update(RESOURCE, &wanted.name);
    if value {
        change = change.changing("value", "[hidden]", "[hidden]");
    }
    change = tags.shown_in(change);
    let parameter = wanted.clone();
    Planned::act(
        change,
        Action::Update {
            parameter,
            value,
            tags,
        },
    )
}

fn deletion(name: &String) -> Planned<Action> {
    Planned::act(
        Change::delete(RESOURCE, name),
        Action::Delete { name: name.clone() },
    )
}

/// Carries out a plan.
pub(crate) async fn apply(
    ssm: &Client,
    plan: &ParameterPlan,
    events: &EventSender,
) -> Result<(), CallError> {
    for step in &plan.steps {
        match &step.action {
            None => {}
            Some(Action::Put(parameter)) => {
                report(events, &step.change, put(ssm, parameter, false)).await?;
            }
            Some(Action::Update {
                parameter,
                value,
                tags,
            }) => {
                let work = async {
                    if *value {
                        put(ssm, parameter, true).await?;
                    }
                    retag(ssm, &parameter.name, tags).await
                };
                report(events, &step.change, work).await?;
            }
            Some(Action::Delete { name }) => {
                report(events, &step.change, delete(ssm, name)).await?;
            }
        }
    }
    Ok(())
}

async fn put(ssm: &Client, wanted: &TokenParameter, overwrite: bool) -> Result<(), CallError> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build();
    // SSM takes tags only for a new parameter.
    let tags = (!overwrite).then(|| {
        wanted
            .tags
            .iter()
            .filter_map(|pair| tag(pair).ok())
            .collect()
    });
    ssm.put_parameter()
        .name(&wanted.name)
        .value(wanted.token.expose())
        .r#type(ParameterType::SecureString)
        .overwrite(overwrite)
        .set_tags(tags)
        .send()
        .await
        .calling("PutParameter")
        .map(drop)
}

async fn retag(ssm: &Client, name: &str, drift: &TagDrift) -> Result<(), CallError> {
    if !drift.set().is_empty() {
        let tag = |(key, value)| Tag::builder().key(key).value(value).build();
        let tags = drift.set().iter().filter_map(|pair| tag(pair).ok());
        let call = ssm
            .add_tags_to_resource()
            .resource_type(ResourceTypeForTagging::Parameter)
            .resource_id(name)
            .set_tags(Some(tags.collect()));
        call.send().await.calling("AddTagsToResource")?;
    }
    if !drift.remove().is_empty() {
        let keys = drift.removed_keys().map(str::to_owned).collect();
        let call = ssm
            .remove_tags_from_resource()
            .resource_type(ResourceTypeForTagging::Parameter)
            .resource_id(name)
            .set_tag_keys(Some(keys));
        call.send().await.calling("RemoveTagsFromResource")?;
    }
    Ok(())
}

async fn delete(ssm: &Client, name: &str) -> Result<(), CallError> {
    match ssm
        .delete_parameter()
        .name(name)
        .send()
        .await
        .calling("DeleteParameter")
    {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, token: &str) -> TokenParameter {
        TokenParameter {
            name: name.into(),
            token: RunnerToken::new(token),
            tags: Tags::new(),
        }
    }

    fn stored(token: &str) -> Stored {
        Stored {
            token: RunnerToken::new(token),
            tags: Tags::new(),
        }
    }

    #[test]
    fn other_tags_are_put_right_and_the_token_stays() {
        let name = "/onspot/ci/a/token";
        let found = Stored {
            tags: Tags::new().with("CostCenter", "ci").noted(),
            ..stored("glrt-a")
        };
        let observed = Observed::from([(name.into(), found)]);
        let plan = diff(&[wanted(name, "glrt-a")], &[], &observed);
        let text = plan.plan().to_string();
        assert!(text.contains("tag CostCenter"), "{text}");
        assert!(!text.contains("hidden"), "{text}");
    }

    #[test]
    fn a_plan_tells_of_a_new_token_without_telling_it() {
        let observed = Observed::from([
            ("/onspot/ci/a/token".into(), stored("glrt-old")),
            ("/onspot/ci/b/token".into(), stored("glrt-b")),
            ("/onspot/ci/gone/token".into(), stored("glrt-gone")),
        ]);
        let desired = [
            wanted("/onspot/ci/a/token", "glrt-new"),
            wanted("/onspot/ci/b/token", "glrt-b"),
            wanted("/onspot/ci/c/token", "glrt-c"),
        ];
        let plan = diff(&desired, &[], &observed);
        let text = plan.plan().to_string();
        assert!(!text.contains("glrt"), "{text}");
        let summary = plan.plan().summary();
        assert_eq!((summary.create, summary.update, summary.delete), (1, 1, 1));
        assert!(!format!("{plan:?}").contains("glrt"));
    }

    #[test]
    fn what_the_file_refers_to_stays() {
        let name = "/onspot/ci/a/token";
        let observed = Observed::from([(name.into(), stored("glrt-a"))]);
        for written in [
            name,
            "onspot/ci/a/token",
            "/onspot/ci/a/token:3",
            "arn:aws:ssm:eu-west-1:123456789012:parameter/onspot/ci/a/token",
        ] {
            let plan = diff(&[], &[written.to_owned()], &observed);
            assert!(plan.plan().is_empty(), "{written}");
        }
        let other = diff(&[], &["/onspot/ci/b/token".to_owned()], &observed);
        assert_eq!(other.plan().summary().delete, 1);
    }

    #[test]
    fn nothing_is_left() {
        let observed = Observed::from([("/onspot/ci/a/token".into(), stored("glrt-a"))]);
        assert_eq!(teardown(&observed).plan().summary().delete, 1);
    }
}
