//! The CloudWatch log group that managers and workers write to.

use std::collections::HashMap;

use aws_sdk_cloudwatchlogs::Client;
use onspot_reconcile::{CallError, Change, EventSender, ServiceResultExt as _, Tags};

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
    /// `None`: logs are kept for ever.
    pub(crate) retention_days: Option<u32>,
}

#[derive(Debug, Clone)]
enum Action {
    Create(LogGroupSpec),
    Retain(LogGroupSpec),
    Delete { name: String },
}

/// The step from what is there to what is wanted, or to nothing.
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
            return Ok(Some(LogGroupState {
                retention_days: days,
            }));
        }
    }
    Ok(None)
}

/// What has to be done to get from `observed` to `spec`. Pure.
pub(crate) fn diff(spec: &LogGroupSpec, observed: Option<&LogGroupState>) -> LogGroupPlan {
    let days = |days: u32| format!("{days} days");
    let step = match observed {
        None => Planned::act(
            Change::create(RESOURCE, &spec.name).setting("retention", days(spec.retention_days)),
            Action::Create(spec.clone()),
        ),
        Some(state) if state.retention_days == Some(spec.retention_days) => {
            Planned::keep(Change::keep(RESOURCE, &spec.name))
        }
        Some(state) => Planned::act(
            Change::update(RESOURCE, &spec.name).changing(
                "retention",
                state.retention_days.map_or("for ever".to_owned(), days),
                days(spec.retention_days),
            ),
            Action::Retain(spec.clone()),
        ),
    };
    LogGroupPlan { step: Some(step) }
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
            let tags: HashMap<_, _> = spec
                .tags
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            let call = logs
                .create_log_group()
                .log_group_name(&spec.name)
                .set_tags(Some(tags));
            match call.send().await.calling("CreateLogGroup") {
                Err(error) if error.is_already_there() => {}
                other => drop(other?),
            }
            retain(logs, spec).await
        }
        Action::Retain(spec) => retain(logs, spec).await,
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
        };
        assert_eq!(diff(&spec(), None).plan().summary().create, 1);
        assert!(diff(&spec(), Some(&kept(Some(30)))).plan().is_empty());
        assert_eq!(diff(&spec(), Some(&kept(None))).plan().summary().update, 1);
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
