//! Describes and terminates instances.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    Filter, Instance as Ec2Instance, InstanceLifecycleType, InstanceStateName,
};
use jiff::Timestamp;
use onspot_reconcile::{CallError, ServiceResultExt};

use crate::tagging::from_ec2;
use crate::{Error, Instance, InstanceId, InstanceState, Lifecycle, Pool};

/// The most ids per `DescribeInstances` call.
const DESCRIBE_AT_ONCE: usize = 100;

/// The most ids per `TerminateInstances` call.
const TERMINATE_AT_ONCE: usize = 500;

/// Matches instances that have not ended.
pub(crate) fn not_ended() -> Filter {
    let states = [
        InstanceStateName::Pending,
        InstanceStateName::Running,
        InstanceStateName::Stopping,
        InstanceStateName::Stopped,
        InstanceStateName::ShuttingDown,
    ];
    let names = states.map(|state| state.as_str().to_owned());
    Filter::builder()
        .name("instance-state-name")
        .set_values(Some(names.into()))
        .build()
}

/// All instances that match `filters`, over all pages.
pub(crate) async fn instances(
    client: &Client,
    filters: Vec<Filter>,
) -> Result<Vec<Instance>, Error> {
    let mut pages = client
        .describe_instances()
        .set_filters(Some(filters))
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let reservations = page
            .calling("DescribeInstances")?
            .reservations
            .unwrap_or_default();
        let described = reservations
            .into_iter()
            .flat_map(|r| r.instances.unwrap_or_default());
        found.extend(described.filter_map(of_ec2));
    }
    Ok(found)
}

/// The current states of instances, looked up by id; `None` for one that EC2 does not know.
///
/// Unlike a search by tag, this still works after somebody has changed the tags.
pub(crate) async fn by_id(
    client: &Client,
    ids: &[InstanceId],
) -> Result<Vec<(InstanceId, Option<Instance>)>, Error> {
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(DESCRIBE_AT_ONCE) {
        match described(client, some).await {
            Ok(known) => found.extend(known),
            // EC2 refuses the whole call if it does not know one of the ids.
            Err(Error::Call(error)) if is_unknown(&error) => {
                for id in some {
                    match described(client, std::slice::from_ref(id)).await {
                        Ok(known) => found.extend(known),
                        Err(Error::Call(error)) if is_unknown(&error) => {
                            found.push((id.clone(), None));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Whether EC2 says that there is no such instance. A malformed id counts as well.
fn is_unknown(error: &CallError) -> bool {
    matches!(
        error.code(),
        Some("InvalidInstanceID.NotFound" | "InvalidInstanceID.Malformed")
    )
}

/// Those of `ids` that are in EC2's answer. If EC2 leaves one out without an error, its state is
/// unknown, so the result leaves it out too.
async fn described(
    client: &Client,
    ids: &[InstanceId],
) -> Result<Vec<(InstanceId, Option<Instance>)>, Error> {
    let wanted = ids.iter().map(|id| id.as_str().to_owned()).collect();
    let call = client.describe_instances().set_instance_ids(Some(wanted));
    let answer = call.send().await.calling("DescribeInstances")?;
    let reservations = answer.reservations.unwrap_or_default();
    let described = reservations
        .into_iter()
        .flat_map(|r| r.instances.unwrap_or_default());
    let known = described.filter_map(of_ec2);
    Ok(known
        .map(|instance| (instance.id.clone(), Some(instance)))
        .collect())
}

/// Terminates instances. Instances that EC2 does not know are no error.
pub(crate) async fn terminate(client: &Client, ids: &[InstanceId]) -> Result<(), Error> {
    for some in ids.chunks(TERMINATE_AT_ONCE) {
        match terminate_at_once(client, some).await {
            // EC2 refuses the whole call if it does not know one of the ids.
            Err(Error::Call(error)) if error.is_not_found() && some.len() > 1 => {
                for id in some {
                    ignoring_unknown(terminate_at_once(client, std::slice::from_ref(id)).await)?;
                }
            }
            result => ignoring_unknown(result)?,
        }
    }
    Ok(())
}

async fn terminate_at_once(client: &Client, ids: &[InstanceId]) -> Result<(), Error> {
    let ids = ids.iter().map(|id| id.as_str().to_owned()).collect();
    let call = client.terminate_instances().set_instance_ids(Some(ids));
    call.send().await.calling("TerminateInstances")?;
    Ok(())
}

fn ignoring_unknown(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Call(error)) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Converts EC2's instance; `None` if EC2 left out something that every instance has.
fn of_ec2(instance: Ec2Instance) -> Option<Instance> {
    let state = match instance.state?.name? {
        InstanceStateName::Pending => InstanceState::Pending,
        InstanceStateName::Running => InstanceState::Running,
        InstanceStateName::Stopping => InstanceState::Stopping,
        InstanceStateName::Stopped => InstanceState::Stopped,
        InstanceStateName::ShuttingDown => InstanceState::ShuttingDown,
        InstanceStateName::Terminated => InstanceState::Terminated,
        _ => return None,
    };
    let lifecycle = match instance.instance_lifecycle {
        Some(InstanceLifecycleType::Spot) => Lifecycle::Spot,
        _ => Lifecycle::OnDemand,
    };
    let launched = instance.launch_time.map(|time| time.secs());
    let zone = instance
        .placement
        .and_then(|placement| placement.availability_zone);
    let reason = instance.state_reason.and_then(|reason| reason.code);
    Some(Instance {
        id: InstanceId::new(instance.instance_id?),
        pool: Pool {
            instance_type: instance.instance_type.map(|t| t.as_str().to_owned())?,
            zone: zone.unwrap_or_default(),
            lifecycle,
        },
        state,
        launched_at: launched
            .and_then(|s| Timestamp::from_second(s).ok())
            .unwrap_or_default(),
        reason: reason.filter(|code| !code.is_empty()),
        private_ip: instance.private_ip_address,
        tags: from_ec2(instance.tags),
        outdated: false,
    })
}
