//! Compares the wanted with the observed network: what has to be done, and in which order. Pure.

use crate::compare::Diff;
use crate::plan::{NetworkPlan, PlannedStep};
use crate::resource::{endpoint, gateway, nat, routes, security_group, subnet, vpc};
use crate::spec::Desired;
use crate::{Error, Observed, Tier};

#[cfg(test)]
mod cloud;
#[cfg(test)]
mod tests;

/// Adds what has to be done about one resource.
type Compare = fn(&mut Diff<'_>, &Observed) -> Result<(), Error>;

/// How each resource is compared, in the order in which they are made.
const MAKING: [Compare; 8] = [
    |diff, there| vpc::diff(diff, &there.vpcs),
    |diff, there| gateway::diff(diff, &there.gateways),
    |diff, there| subnet::diff(diff, &there.subnets),
    |diff, there| routes::diff(diff, &there.routes, Tier::Public),
    |diff, there| nat::diff(diff, &there.addresses, &there.nats),
    |diff, there| security_group::diff(diff, &there.groups),
    // As late as can be, as it waits for the NAT gateway.
    |diff, there| routes::diff(diff, &there.routes, Tier::Private),
    |diff, there| endpoint::diff(diff, &there.endpoints),
];

/// What a smaller network may have to remove, in the order of removal.
const LEAVING: [fn(&mut Diff<'_>, &Observed); 3] = [
    |diff, there| routes::leftovers(diff, &there.routes),
    |diff, there| nat::leftovers(diff, &there.addresses, &there.nats),
    |diff, there| subnet::leftovers(diff, &there.subnets),
];

/// How each resource of a stack is removed, in the order of removal: NAT gateways hold addresses
/// and subnets; all that is in a VPC holds the VPC.
const REMOVING: [fn(&str, &Observed) -> Vec<PlannedStep>; 8] = [
    |stack, there| nat::removals(stack, &there.nats),
    |stack, there| nat::address_removals(stack, &there.addresses),
    |stack, there| endpoint::removals(stack, &there.endpoints),
    |stack, there| routes::removals(stack, &there.routes),
    |stack, there| subnet::removals(stack, &there.subnets),
    |stack, there| gateway::removals(stack, &there.gateways),
    |stack, there| security_group::removals(stack, &there.groups),
    |stack, there| vpc::removals(stack, &there.vpcs),
];

/// What has to be done to get from `observed` to `desired`, in order.
///
/// # Errors
///
/// [`Error::RangeChanged`] if the VPC has another range, and
/// [`Error::Ambiguous`] if a part of the network is there twice.
pub fn diff(desired: &Desired, observed: &Observed) -> Result<NetworkPlan, Error> {
    let mut diff = Diff {
        desired,
        ids: observed.by_role(),
        tags: &observed.tags,
        steps: Vec::new(),
    };
    for compare in MAKING {
        compare(&mut diff, observed)?;
    }
    for leave in LEAVING {
        leave(&mut diff, observed);
    }
    Ok(NetworkPlan {
        stack: desired.spec.stack.clone(),
        desired: Some(desired.clone()),
        ids: diff.ids,
        steps: diff.steps,
    })
}

/// What has to be done to remove the whole network, in order. All instances must be gone first: a
/// subnet that holds one cannot be deleted.
pub fn teardown(observed: &Observed) -> NetworkPlan {
    let stack = &observed.stack;
    let steps = REMOVING.iter().flat_map(|remove| remove(stack, observed));
    NetworkPlan {
        stack: stack.clone(),
        desired: None,
        ids: observed.by_role(),
        steps: steps.collect(),
    }
}
