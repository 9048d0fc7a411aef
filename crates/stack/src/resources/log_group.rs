//! The CloudWatch log group that managers and workers write to.

use std::collections::HashMap;

use aws_sdk_cloudwatchlogs::Client;
use onspot_reconcile::{CallError, Change, EventSender, ServiceResultExt as _, TagDrift, Tags};

use crate::step::{Planned, report};

/// What plans call it.
const RESOURCE: &str = "log group";

/// What the log group should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogGroupSpec {
    pub(crate) name: String,
    pub(crate) retention_days: u32,
    pub(crate) tags: Tags,
}

/// The log group that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogGroupState {
    /// `None` means that logs are kept for ever.
    pub(crate) retention_days: Option<u32>,
    /// Its ARN, without the `:*` that stands for its streams.
    pub(crate) arn: String,
    /// Its tags.
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone)]
enum Action {
    Create(LogGroupSpec),
    Update {
        spec: LogGroupSpec,
        retention: bool,
        arn: String,
        tags: TagDrift,
    },
    Delete {
        name: String,
    },
}

/// The step from the observed to the wanted state, or to nothing.
#[derive(Debug, Clone)]
pub(crate) struct LogGroupPlan {
    step: Option<Planned<Action>>,
}

impl LogGroupPlan {
    /// The plan as data.
    pub(crate) fn plan(&self) -> onspot_reconcile::Plan {
        self.step.iter().map(|step| step.change.clone()).collect()
    }
}

/// Looks for the group of this name.
pub(crate) async fn observe(logs: &Client, name: &str) -> Result<Option<LogGroupState>, CallError> {
    let mut pages = logs
        .describe_log_groups()
        .log_group_name_prefix(name)
        .into_paginator()
        .items()
        .send();
    while let Some(group) = pages.next().await {
        let group = group.calling("DescribeLogGroups")?;
        if group.log_group_name.as_deref() == Some(name) {
            let days = group
                .retention_in_days
                .and_then(|days| u32::try_from(days).ok());
            let arn = group.log_group_arn.or(group.arn).unwrap_or_default();
            let arn = arn.trim_end_matches(":*").to_owned();
            return Ok(Some(LogGroupState {
                retention_days: days,
                tags: tags(logs, &arn).await?,
                arn,
            }));
        }
    }
    Ok(None)
}

/// The tags of a group; none if it is being deleted.
async fn tags(logs: &Client, arn: &str) -> Result<Tags, CallError> {
    let call = logs.list_tags_for_resource().resource_arn(arn);
    match call.send().await.calling("ListTagsForResource") {
        Ok(answer) => Ok(answer.tags.unwrap_or_default().into_iter().collect()),
        Err(error) if error.is_not_found() => Ok(Tags::new()),
        Err(error) => Err(error),
    }
}

/// What has to be done to get from `observed` to `spec`. Pure.
pub(crate) fn diff(spec: &LogGroupSpec, observed: Option<&LogGroupState>) -> LogGroupPlan {
    let days = |days: u32| format!("{days} days");
    let step = match observed {
        None => Planned::act(
            Change::create(RESOURCE, &spec.name).setting("retention", days(spec.retention_days)),
            Action::Create(spec.clone()),
        ),
        Some(state) => update(spec, state),
    };
    LogGroupPlan { step: Some(step) }
}

fn update(spec: &LogGroupSpec, state: &LogGroupState) -> Planned<Action> {
    let days = |days: u32| format!("{days} days");
    let retention = state.retention_days != Some(spec.retention_days);
    let tags = spec.tags.drift(&state.tags);
    if !retention && tags.is_empty() {
        return Planned::keep(Change::keep(RESOURCE, &spec.name));
    }
    let mut change = Change::update(RESOURCE, &spec.name);
    if retention {
        let old = state.retention_days.map_or("for ever".to_owned(), days);
        change = change.changing("retention", old, days(spec.retention_days));
    }
    let change = tags.shown_in(change);
    let action = Action::Update {
        spec: spec.clone(),
        retention,
        arn: state.arn.clone(),
        tags,
    };
    Planned::act(change, action)
}

/// What has to be done to leave nothing. Pure.
pub(crate) fn teardown(name: &str, observed: Option<&LogGroupState>) -> LogGroupPlan {
    let delete = |_: &LogGroupState| {
        Planned::act(
            Change::delete(RESOURCE, name),
            Action::Delete {
                name: name.to_owned(),
            },
        )
    };
    LogGroupPlan {
        step: observed.map(delete),
    }
}

/// Carries out a plan.
pub(crate) async fn apply(
    logs: &Client,
    plan: &LogGroupPlan,
    events: &EventSender,
) -> Result<(), CallError> {
    let Some(Planned {
        change,
        action: Some(action),
    }) = &plan.step
    else {
        return Ok(());
    };
    report(events, change, act(logs, action)).await
}

async fn act(logs: &Client, action: &Action) -> Result<(), CallError> {
    match action {
        Action::Create(spec) => {
            let call = logs
                .create_log_group()
                .log_group_name(&spec.name)
                .set_tags(Some(sdk(&spec.tags)));
            match call.send().await.calling("CreateLogGroup") {
                Err(error) if error.is_already_there() => {}
                other => drop(other?),
            }
            retain(logs, spec).await
        }
        Action::Update {
            spec,
            retention,
            arn,
            tags,
        } => {
            if *retention {
                retain(logs, spec).await?;
            }
            retag(logs, arn, tags).await
        }
        Action::Delete { name } => {
            match logs
                .delete_log_group()
                .log_group_name(name)
                .send()
                .await
                .calling("DeleteLogGroup")
            {
                Err(error) if error.is_not_found() => Ok(()),
                other => other.map(drop),
            }
        }
    }
}

async fn retag(logs: &Client, arn: &str, drift: &TagDrift) -> Result<(), CallError> {
    if !drift.set().is_empty() {
        let call = logs.tag_resource().resource_arn(arn);
        let call = call.set_tags(Some(sdk(drift.set()))).send().await;
        call.calling("TagResource")?;
    }
    if !drift.remove().is_empty() {
        let keys = drift.removed_keys().map(str::to_owned).collect();
        let call = logs.untag_resource().resource_arn(arn);
        let call = call.set_tag_keys(Some(keys)).send().await;
        call.calling("UntagResource")?;
    }
    Ok(())
}

fn sdk(tags: &Tags) -> HashMap<String, String> {
    let tags = tags.iter();
    tags.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

async fn retain(logs: &Client, spec: &LogGroupSpec) -> Result<(), CallError> {
    let days = i32::try_from(spec.retention_days).unwrap_or(i32::MAX);
    let call = logs
        .put_retention_policy()
        .log_group_name(&spec.name)
        .retention_in_days(days);
    call.send().await.calling("PutRetentionPolicy").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> LogGroupSpec {
        LogGroupSpec {
            name: "/onspot/ci".into(),
            retention_days: 30,
            tags: Tags::of_stack("ci"),
        }
    }

    #[test]
    fn only_what_differs_is_done() {
        let kept = |days| LogGroupState {
            retention_days: days,
            arn: "arn:aws:logs:eu-west-1:123456789012:log-group:/onspot/ci".into(),
            tags: spec().tags,
        };
        assert_eq!(diff(&spec(), None).plan().summary().create, 1);
        assert!(diff(&spec(), Some(&kept(Some(30)))).plan().is_empty());
        assert_eq!(diff(&spec(), Some(&kept(None))).plan().summary().update, 1);
        let tagged = LogGroupSpec {
            tags: spec().tags.with("CostCenter", "ci"),
            ..spec()
        };
        let plan = diff(&tagged, Some(&kept(Some(30)))).plan().to_string();
        assert!(plan.contains("tag CostCenter"), "{plan}");
        assert!(!plan.contains("retention"), "{plan}");
        assert!(teardown("/onspot/ci", None).plan().is_empty());
        assert_eq!(
            teardown("/onspot/ci", Some(&kept(None)))
                .plan()
                .summary()
                .delete,
            1
        );
    }
}
