//! What is no longer wanted: single parts, or all of it.

use onspot_reconcile::Change;

use super::up::Diff;
use super::{Action, NetworkPlan, PlannedStep, Resource};
use crate::observed::Found;
use crate::{Nat, Observed, Role, Tier};

/// What has to be done to leave nothing of the network, in order. Instances must be gone
/// before: a subnet with one in it cannot be deleted.
pub fn teardown(observed: &Observed) -> NetworkPlan {
    let stack = &observed.stack;
    let mut steps = Vec::new();
    // NAT gateways hold addresses and subnets; all that is in a VPC holds the VPC.
    steps.extend(deletions(stack, &observed.nats, "nat gateway", |_| {
        Resource::Nat
    }));
    steps.extend(deletions(
        stack,
        &observed.addresses,
        "elastic address",
        |_| Resource::Address,
    ));
    steps.extend(deletions(
        stack,
        &observed.endpoints,
        "vpc endpoint",
        |_| Resource::Endpoint,
    ));
    steps.extend(deletions(stack, &observed.routes, "route table", |table| {
        Resource::Routes {
            associations: table.subnets.values().cloned().collect(),
        }
    }));
    steps.extend(deletions(stack, &observed.subnets, "subnet", |_| {
        Resource::Subnet
    }));
    steps.extend(deletions(
        stack,
        &observed.gateways,
        "internet gateway",
        |gateway| Resource::Gateway {
            attached_to: gateway.attached_to.clone(),
        },
    ));
    // The managers' group may name the workers', which can't go before it.
    let mut groups = observed.groups.clone();
    groups.sort_by(|a, b| a.role.cmp(&b.role));
    steps.extend(deletions(stack, &groups, "security group", |_| {
        Resource::Group
    }));
    steps.extend(deletions(stack, &observed.vpcs, "vpc", |_| Resource::Vpc));
    NetworkPlan {
        stack: stack.clone(),
        desired: None,
        ids: observed.by_role(),
        steps,
    }
}

/// One deletion for each of `found`.
fn deletions<'a, T>(
    stack: &'a str,
    found: &'a [Found<T>],
    kind: &'static str,
    resource: impl Fn(&T) -> Resource + 'a,
) -> impl Iterator<Item = PlannedStep> + 'a {
    found.iter().map(move |found| {
        let name = found
            .role
            .as_ref()
            .map_or_else(|| found.id.clone(), |role| role.name(stack));
        PlannedStep {
            change: Change::delete(kind, name).with_id(&found.id),
            actions: vec![Action::Delete {
                resource: resource(&found.state),
                id: found.id.clone(),
            }],
            late: false,
        }
    })
}

impl Diff<'_> {
    /// Deletes the parts of zones that are no longer wanted, and NAT that is not. Instances may
    /// still be there, or need it.
    pub(super) fn leftovers(&mut self) {
        let Self {
            desired, observed, ..
        } = self;
        let stack = &desired.spec.stack;
        let mut steps = Vec::new();
        if desired.spec.nat == Nat::None {
            steps.extend(no_default_route(stack, observed));
            steps.extend(deletions(stack, &observed.nats, "nat gateway", |_| {
                Resource::Nat
            }));
            steps.extend(deletions(
                stack,
                &observed.addresses,
                "elastic address",
                |_| Resource::Address,
            ));
        }
        let wanted = |role: &Option<Role>| match role {
            Some(Role::Subnet(_, zone)) => desired.addresses.zones.contains_key(zone),
            _ => true,
        };
        let unwanted: Vec<_> = observed
            .subnets
            .iter()
            .filter(|subnet| !wanted(&subnet.role))
            .cloned()
            .collect();
        steps.extend(deletions(stack, &unwanted, "subnet", |_| Resource::Subnet));
        let late = steps
            .into_iter()
            .map(|step| PlannedStep { late: true, ..step });
        self.steps.extend(late);
    }
}

/// Without NAT, private subnets have no way out.
fn no_default_route(stack: &str, observed: &Observed) -> Option<PlannedStep> {
    let role = Role::Routes(Tier::Private);
    let table = observed
        .routes
        .iter()
        .find(|table| table.role.as_ref() == Some(&role))?;
    let target = table.state.default_target.as_ref()?;
    let change = Change::update(role.resource(), role.name(stack))
        .with_id(&table.id)
        .changing("default route", target, "(none)");
    Some(PlannedStep {
        change,
        actions: vec![Action::RemoveDefaultRoute {
            tier: Tier::Private,
        }],
        late: false,
    })
}
