//! Lists and terminates the instances of a stack, of all roles.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Filter;
use onspot_reconcile::{Change, EventSender, Patience, Plan, ROLE, STACK, Step};

use crate::{Error, Instance, InstanceId, InstanceState, observed};

/// How long instances may take to terminate.
const ENDING: Patience = Patience::new(Duration::from_secs(1), Duration::from_mins(10));

/// The instances of the stack, of one role or of all roles, including terminated ones.
///
/// # Errors
///
/// [`Error::Call`] if EC2 refuses to list the instances or cannot be reached.
pub async fn instances(
    ec2: &Client,
    stack: &str,
    role: Option<&str>,
) -> Result<Vec<Instance>, Error> {
    let pairs = [Some((STACK, stack)), role.map(|role| (ROLE, role))];
    let filters = pairs.into_iter().flatten().map(|(key, value)| {
        Filter::builder()
            .name(format!("tag:{key}"))
            .values(value)
            .build()
    });
    observed::instances(ec2, filters.collect()).await
}

/// What [`terminate_all`] would terminate.
pub fn termination_plan(instances: &[Instance]) -> Plan {
    let living = instances
        .iter()
        .filter(|instance| instance.state != InstanceState::Terminated);
    living
        .map(|instance| {
            let name = instance
                .tags
                .get(onspot_reconcile::NAME)
                .unwrap_or("(no name)");
            Change::delete("instance", name)
                .with_id(instance.id.as_str())
                .setting("from", instance.pool.to_string())
        })
        .collect()
}

/// Terminates these instances without waiting until they are gone. Instances that EC2 does not know
/// any more are no error.
///
/// # Errors
///
/// [`Error::Call`] if EC2 refuses to terminate an instance or cannot be reached.
pub async fn terminate(ec2: &Client, instances: &[InstanceId]) -> Result<(), Error> {
    observed::terminate(ec2, instances).await
}

/// Terminates all instances of the stack and waits until they are gone, because subnets can be
/// deleted only then. Remove the managers' group first, else it launches new ones. Fleets of type
/// `instant` leave nothing else behind.
///
/// # Errors
///
/// [`Error::Call`] if EC2 refuses a call or cannot be reached; [`Error::TooSlow`] if instances are
/// still there after the wait.
pub async fn terminate_all(ec2: &Client, stack: &str, events: &EventSender) -> Result<(), Error> {
    let found = instances(ec2, stack, None).await?;
    let ids = living(&found);
    if !ids.is_empty() {
        let step = Step::start(events, format!("terminate {} instances", ids.len()));
        if let Err(error) = end(ec2, stack, &step).await {
            step.failed(&error);
            return Err(error);
        }
        step.done(None);
    }
    Ok(())
}

/// Terminates in a loop, because EC2 may list an instance late that was launched just before.
async fn end(ec2: &Client, stack: &str, step: &Step<'_>) -> Result<(), Error> {
    step.waiting("them to end");
    let mut asked: Vec<InstanceId> = Vec::new();
    let limit = tokio::time::Instant::now() + ENDING.limit;
    loop {
        let ids = living(&instances(ec2, stack, None).await?);
        if ids.is_empty() {
            return Ok(());
        }
        let new: Vec<InstanceId> = ids
            .iter()
            .filter(|id| !asked.contains(id))
            .cloned()
            .collect();
        observed::terminate(ec2, &new).await?;
        asked.extend(new);
        if tokio::time::Instant::now() > limit {
            return Err(Error::TooSlow {
                what: format!("{} instances", ids.len()),
                state: "terminated",
                seconds: ENDING.limit.as_secs(),
            });
        }
        tokio::time::sleep(ENDING.every).await;
    }
}

fn living(instances: &[Instance]) -> Vec<InstanceId> {
    let living = instances
        .iter()
        .filter(|instance| instance.state != InstanceState::Terminated);
    living.map(|instance| instance.id.clone()).collect()
}
