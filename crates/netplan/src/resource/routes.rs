//! The route tables, one for each tier.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ResourceType, RouteState, RouteTable};
use onspot_reconcile::{Change, ServiceResultExt, Step};

use crate::call::{ANYWHERE, Applier, already_there_is_fine, released, required, settled, token};
use crate::compare::{Diff, Fix, deletions, step};
use crate::found::{Listed, of_stack, role_of};
use crate::plan::{Action, PlannedStep, Resource};
use crate::spec::Desired;
use crate::{Error, Found, Nat, Role, Tier};

/// A route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutesState {
    /// The subnets that use it, each with the id of their association.
    pub subnets: BTreeMap<String, String>,
    /// Where 0.0.0.0/0 goes: the target's id; `None` without such a route.
    pub default_target: Option<String>,
    /// Whether that target still exists.
    pub default_works: bool,
}

/// The route tables.
pub(crate) async fn observe(ec2: &Client, stack: &str) -> Listed<RoutesState> {
    let call = ec2.describe_route_tables().filters(of_stack(stack));
    let found = call.into_paginator().items().send().try_collect().await;
    let found = found.calling("DescribeRouteTables")?.into_iter();
    Ok(found.filter_map(of_table).collect())
}

fn of_table(table: RouteTable) -> Option<Found<RoutesState>> {
    let associations = table.associations.unwrap_or_default().into_iter();
    let mut routes = table.routes.unwrap_or_default().into_iter();
    let default = routes.find(|route| route.destination_cidr_block.as_deref() == Some(ANYWHERE));
    let state = RoutesState {
        subnets: associations
            .filter_map(|link| Some((link.subnet_id?, link.route_table_association_id?)))
            .collect(),
        default_works: default
            .as_ref()
            .is_some_and(|route| route.state != Some(RouteState::Blackhole)),
        default_target: default.and_then(|route| route.nat_gateway_id.or(route.gateway_id)),
    };
    Some(Found {
        id: table.route_table_id?,
        role: role_of(table.tags),
        state,
    })
}

/// The target of a tier's default route; none for private subnets without NAT.
fn desired(desired: &Desired, tier: Tier) -> Option<Role> {
    match tier {
        Tier::Public => Some(Role::InternetGateway),
        Tier::Private => (desired.spec.nat == Nat::Gateway).then_some(Role::NatGateway),
    }
}

/// Wants a table for the tier, with its default route, used by the tier's subnets. [`leftovers`]
/// removes a default route that is not wanted any more.
pub(crate) fn diff(
    diff: &mut Diff<'_>,
    there: &[Found<RoutesState>],
    tier: Tier,
) -> Result<(), Error> {
    let role = Role::Routes(tier);
    let via = desired(diff.desired, tier);
    let zones = diff.desired.addresses.zones.keys().cloned();
    let Some(table) = diff.one(there, &role)? else {
        let mut change = diff.create(&role);
        let mut actions = vec![Action::Create(role)];
        if let Some(via) = via {
            change = change.setting("default route", via.resource());
            actions.extend(await_target(&via));
            let replace = false;
            actions.push(Action::SetDefaultRoute { tier, via, replace });
        }
        actions.extend(zones.map(|zone| Action::UseRoutes { tier, zone }));
        diff.push(change, actions);
        return Ok(());
    };
    let mut fix = Fix::default();
    if let Some(via) = via {
        fix_default_route(&mut fix, diff, table, tier, via);
    }
    for zone in zones {
        let subnet = diff.ids.get(&Role::Subnet(tier, zone.clone()));
        if !subnet.is_some_and(|id| table.state.subnets.contains_key(id)) {
            let wanted = format!("{tier}-{zone}");
            let action = Action::UseRoutes { tier, zone };
            fix.add("subnet", "(none)", &wanted, [action]);
        }
    }
    diff.keep_or_update(&role, &table.id, fix);
    Ok(())
}

fn fix_default_route(
    fix: &mut Fix,
    diff: &Diff<'_>,
    table: &Found<RoutesState>,
    tier: Tier,
    via: Role,
) {
    let target = table.state.default_target.as_ref();
    let right = target.is_some() && target == diff.ids.get(&via);
    if right && table.state.default_works && !diff.makes(&via) {
        return;
    }
    let replace = target.is_some();
    let old = target.map_or("(none)", String::as_str);
    let new = via.resource();
    let wait = await_target(&via).into_iter();
    let set = Action::SetDefaultRoute { tier, via, replace };
    fix.add("default route", old, new, wait.chain([set]));
}

/// A NAT gateway can be a route's target only once it works.
fn await_target(via: &Role) -> Option<Action> {
    (*via == Role::NatGateway).then_some(Action::AwaitNat)
}

/// Removes the private subnets' default route if NAT is no longer wanted. Instances may still need
/// it.
pub(crate) fn leftovers(diff: &mut Diff<'_>, there: &[Found<RoutesState>]) {
    let tier = Tier::Private;
    let role = Role::Routes(tier);
    let Some(table) = there
        .iter()
        .find(|table| table.role.as_ref() == Some(&role))
    else {
        return;
    };
    if let (None, Some(target)) = (desired(diff.desired, tier), &table.state.default_target) {
        let change = Change::update(role.resource(), diff.name(&role));
        let change = change.with_id(&table.id);
        let change = change.changing("default route", target, "(none)");
        diff.push_late([step(change, vec![Action::RemoveDefaultRoute { tier }])]);
    }
}

pub(crate) fn removals(stack: &str, there: &[Found<RoutesState>]) -> Vec<PlannedStep> {
    deletions(stack, there, "route table", |table| {
        let associations = table.subnets.values().cloned().collect();
        Resource::Routes { associations }
    })
}

pub(crate) async fn create(at: &Applier<'_>, tier: Tier) -> Result<String, Error> {
    let vpc = at.id(&Role::Vpc)?;
    let tags = at.tags(ResourceType::RouteTable, &Role::Routes(tier))?;
    let token = token();
    let answer = settled(async || {
        let call = at.ec2.create_route_table().vpc_id(vpc);
        let call = call.tag_specifications(tags.clone()).client_token(&token);
        call.send().await.calling("CreateRouteTable")
    })
    .await?;
    let id = answer.route_table.and_then(|table| table.route_table_id);
    required(id, "CreateRouteTable", "the table's id")
}

pub(crate) async fn set_default(
    at: &Applier<'_>,
    tier: Tier,
    via: &Role,
    replace: bool,
) -> Result<(), Error> {
    let (table, target) = (at.id(&Role::Routes(tier))?, at.id(via)?);
    let (nat, gateway) = match via {
        Role::NatGateway => (Some(target.to_owned()), None),
        _ => (None, Some(target.to_owned())),
    };
    if replace {
        let call = at.ec2.replace_route().route_table_id(table);
        let call = call.destination_cidr_block(ANYWHERE);
        let call = call.set_nat_gateway_id(nat).set_gateway_id(gateway);
        call.send().await.calling("ReplaceRoute")?;
        return Ok(());
    }
    let made = settled(async || {
        let call = at.ec2.create_route().route_table_id(table);
        let call = call.destination_cidr_block(ANYWHERE);
        let call = call.set_nat_gateway_id(nat.clone());
        let call = call.set_gateway_id(gateway.clone());
        call.send().await.calling("CreateRoute")
    });
    already_there_is_fine(made.await)
}

pub(crate) async fn remove_default(at: &Applier<'_>, tier: Tier) -> Result<(), Error> {
    let table = at.id(&Role::Routes(tier))?;
    let call = at.ec2.delete_route().route_table_id(table);
    let call = call.destination_cidr_block(ANYWHERE);
    match call.send().await.calling("DeleteRoute") {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Lets a zone's subnet use its tier's table.
pub(crate) async fn use_table(at: &Applier<'_>, tier: Tier, zone: &str) -> Result<(), Error> {
    let table = at.id(&Role::Routes(tier))?;
    let subnet = at.id(&Role::Subnet(tier, zone.to_owned()))?;
    let associated = settled(async || {
        let call = at.ec2.associate_route_table().route_table_id(table);
        let call = call.subnet_id(subnet);
        call.send().await.calling("AssociateRouteTable")
    });
    already_there_is_fine(associated.await)
}

pub(crate) async fn delete(
    ec2: &Client,
    id: &str,
    associations: &[String],
    step: &Step<'_>,
) -> Result<(), Error> {
    for association in associations {
        released(step, async || {
            let call = ec2.disassociate_route_table().association_id(association);
            call.send().await.calling("DisassociateRouteTable")
        })
        .await?;
    }
    released(step, async || {
        let call = ec2.delete_route_table().route_table_id(id);
        call.send().await.calling("DeleteRouteTable")
    })
    .await
}
