//! The subnets: a public and a private one in each zone.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Subnet};
use ipnet::Ipv4Net;
use onspot_reconcile::{ServiceResultExt, Step};

use crate::call::{Applier, missing, released, required, settled};
use crate::compare::{Diff, Fix, deletions};
use crate::found::{Listed, of_stack, role_of};
use crate::plan::{Action, PlannedStep, Resource};
use crate::spec::Desired;
use crate::{Error, Found, Role, Tier};

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetState {
    /// Its availability zone.
    pub zone: String,
    /// Its range as EC2 writes it.
    pub cidr: String,
    /// Whether instances in it get a public address.
    pub public_addresses: bool,
}

/// The subnets.
pub(crate) async fn observe(ec2: &Client, stack: &str) -> Listed<SubnetState> {
    let call = ec2.describe_subnets().filters(of_stack(stack));
    let found = call.into_paginator().items().send().try_collect().await;
    let found = found.calling("DescribeSubnets")?.into_iter();
    Ok(found.filter_map(of_subnet).collect())
}

fn of_subnet(subnet: Subnet) -> Option<Found<SubnetState>> {
    let state = SubnetState {
        zone: subnet.availability_zone?,
        cidr: subnet.cidr_block?,
        public_addresses: subnet.map_public_ip_on_launch.unwrap_or_default(),
    };
    Some(Found {
        id: subnet.subnet_id?,
        role: role_of(subnet.tags),
        state,
    })
}

/// Tier, zone and range of each subnet.
fn desired(desired: &Desired) -> impl Iterator<Item = (Tier, &str, Ipv4Net)> {
    let zones = desired.addresses.zones.iter();
    zones.flat_map(|(zone, ranges)| {
        [
            (Tier::Public, zone.as_str(), ranges.public),
            (Tier::Private, zone.as_str(), ranges.private),
        ]
    })
}

/// Compares each wanted subnet. [`leftovers`] removes those of zones that are not wanted any more.
pub(crate) fn diff(diff: &mut Diff<'_>, there: &[Found<SubnetState>]) -> Result<(), Error> {
    for (tier, zone, range) in desired(diff.desired) {
        let role = Role::Subnet(tier, zone.to_owned());
        let give = Action::GivePublicAddresses {
            zone: zone.to_owned(),
        };
        let Some(subnet) = diff.one(there, &role)? else {
            let change = diff.create(&role).setting("zone", zone);
            let change = change.setting("cidr", range.to_string());
            let mut actions = vec![Action::Create(role)];
            actions.extend((tier == Tier::Public).then_some(give));
            diff.push(change, actions);
            continue;
        };
        let mut fix = Fix::default();
        if tier == Tier::Public && !subnet.state.public_addresses {
            fix.add("public addresses", "off", "on", [give]);
        }
        diff.keep_or_update(&role, &subnet.id, fix);
    }
    Ok(())
}

/// Removes the subnets of zones that are no longer wanted. Instances may still be in them.
pub(crate) fn leftovers(diff: &mut Diff<'_>, there: &[Found<SubnetState>]) {
    let zones = &diff.desired.addresses.zones;
    let unwanted = there.iter().filter(|subnet| match &subnet.role {
        Some(Role::Subnet(_, zone)) => !zones.contains_key(zone),
        _ => false,
    });
    diff.push_late(removals(&diff.desired.spec.stack, unwanted));
}

pub(crate) fn removals<'a>(
    stack: &str,
    there: impl IntoIterator<Item = &'a Found<SubnetState>>,
) -> Vec<PlannedStep> {
    deletions(stack, there, "subnet", |_| Resource::Subnet)
}

pub(crate) async fn create(at: &Applier<'_>, tier: Tier, zone: &str) -> Result<String, Error> {
    let role = Role::Subnet(tier, zone.to_owned());
    let vpc = at.id(&Role::Vpc)?;
    let range = at.desired()?.addresses.range(tier, zone);
    let range = range.ok_or_else(|| missing(&role))?.to_string();
    let tags = at.tags(ResourceType::Subnet, &role)?;
    let answer = settled(async || {
        let call = at.ec2.create_subnet().vpc_id(vpc).availability_zone(zone);
        let call = call.cidr_block(&range).tag_specifications(tags.clone());
        call.send().await.calling("CreateSubnet")
    })
    .await?;
    let id = answer.subnet.and_then(|subnet| subnet.subnet_id);
    required(id, "CreateSubnet", "the subnet's id")
}

pub(crate) async fn give_public_addresses(at: &Applier<'_>, zone: &str) -> Result<(), Error> {
    let subnet = at.id(&Role::Subnet(Tier::Public, zone.to_owned()))?;
    let on = || AttributeBooleanValue::builder().value(true).build();
    settled(async || {
        let call = at.ec2.modify_subnet_attribute().subnet_id(subnet);
        let call = call.map_public_ip_on_launch(on());
        call.send().await.calling("ModifySubnetAttribute")
    })
    .await?;
    Ok(())
}

pub(crate) async fn delete(ec2: &Client, id: &str, step: &Step<'_>) -> Result<(), Error> {
    released(step, async || {
        let call = ec2.delete_subnet().subnet_id(id);
        call.send().await.calling("DeleteSubnet")
    })
    .await
}
