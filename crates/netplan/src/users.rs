//! The instances that still use what a plan removes.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, InstanceStateName};
use onspot_reconcile::ServiceResultExt;

use crate::plan::{Action, Resource};
use crate::{Error, NetworkPlan, Role, Tier};

/// All instances, of this stack or not, that block `plan` or that it would cut off: those in
/// subnets that it deletes and, if it deletes the NAT gateway, those in private subnets.
///
/// # Errors
///
/// [`Error::Call`] if EC2 refuses to list the instances or cannot be reached.
pub async fn users(ec2: &Client, plan: &NetworkPlan) -> Result<Vec<String>, Error> {
    let subnets = subnets_in_question(plan);
    if subnets.is_empty() {
        return Ok(Vec::new());
    }
    let subnets = Filter::builder()
        .name("subnet-id")
        .set_values(Some(subnets.into_iter().collect()))
        .build();
    let call = ec2.describe_instances().filters(subnets);
    let reservations = call.into_paginator().items().send().try_collect().await;
    let reservations = reservations.calling("DescribeInstances")?.into_iter();
    let instances = reservations.flat_map(|reserved| reserved.instances.unwrap_or_default());
    let living = instances.filter(|instance| {
        let state = instance.state.as_ref();
        let state = state.and_then(|state| state.name.as_ref());
        state != Some(&InstanceStateName::Terminated)
    });
    Ok(living.filter_map(|instance| instance.instance_id).collect())
}

fn subnets_in_question(plan: &NetworkPlan) -> BTreeSet<String> {
    let actions = plan.steps.iter().flat_map(|step| &step.actions);
    let mut subnets = BTreeSet::new();
    for action in actions {
        match action {
            Action::Delete {
                resource: Resource::Subnet,
                id,
            } => {
                subnets.insert(id.clone());
            }
            // Instances in private subnets reach the internet through it.
            Action::Delete {
                resource: Resource::Nat,
                ..
            } => {
                let private = plan.ids.iter().filter_map(|(role, id)| match role {
                    Role::Subnet(Tier::Private, _) => Some(id.clone()),
                    _ => None,
                });
                subnets.extend(private);
            }
            _ => {}
        }
    }
    subnets
}
