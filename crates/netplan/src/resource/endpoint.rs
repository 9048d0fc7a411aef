//! The gateway endpoints: services of AWS that are reached without NAT, for free.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{ResourceType, VpcEndpoint, VpcEndpointType};
use onspot_reconcile::{ServiceResultExt, Step};

use crate::call::{Applier, released, required, settled, token};
use crate::compare::{Diff, Fix, deletions};
use crate::found::{Listed, of_stack, role_of};
use crate::plan::{Action, PlannedStep, Resource};
use crate::{Error, Found, Role, Tier};

/// The services with an endpoint: the part of AWS's name after `com.amazonaws.<region>.`.
const SERVICES: [&str; 1] = ["s3"];
/// The tiers whose subnets reach the services through the endpoints.
const TIERS: [Tier; 2] = [Tier::Public, Tier::Private];

/// A gateway endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// The route tables that lead to it.
    pub route_tables: Vec<String>,
}

/// The endpoints, without deleted ones.
pub(crate) async fn observe(ec2: &Client, stack: &str) -> Listed<EndpointState> {
    let call = ec2.describe_vpc_endpoints().filters(of_stack(stack));
    let found = call.into_paginator().items().send().try_collect().await;
    let found = found.calling("DescribeVpcEndpoints")?.into_iter();
    Ok(found.filter_map(of_endpoint).collect())
}

fn of_endpoint(endpoint: VpcEndpoint) -> Option<Found<EndpointState>> {
    // EC2 documents these states capitalised and sends them in lower case.
    let state = endpoint.state.map(|state| state.as_str().to_lowercase());
    if matches!(state.as_deref(), Some("deleted" | "deleting" | "failed")) {
        return None;
    }
    Some(Found {
        id: endpoint.vpc_endpoint_id?,
        role: role_of(endpoint.tags),
        state: EndpointState {
            route_tables: endpoint.route_table_ids.unwrap_or_default(),
        },
    })
}

/// Wants an endpoint for each service, with a route from the tables of both tiers.
pub(crate) fn diff(diff: &mut Diff<'_>, there: &[Found<EndpointState>]) -> Result<(), Error> {
    for service in SERVICES {
        let role = Role::Endpoint(service.to_owned());
        let Some(endpoint) = diff.one(there, &role)? else {
            let change = diff.create(&role).setting("service", service);
            diff.push(change, vec![Action::Create(role)]);
            continue;
        };
        let linked = |tier: &Tier| {
            let table = diff.ids.get(&Role::Routes(*tier));
            table.is_some_and(|id| endpoint.state.route_tables.contains(id))
        };
        let tiers: Vec<_> = TIERS.into_iter().filter(|tier| !linked(tier)).collect();
        let mut fix = Fix::default();
        if !tiers.is_empty() {
            let missing: Vec<_> = tiers.iter().map(|tier| format!("{tier}-routes")).collect();
            let service = service.to_owned();
            let link = Action::LinkEndpoint { service, tiers };
            fix.add("route tables", "(none)", &missing.join(", "), [link]);
        }
        diff.keep_or_update(&role, &endpoint.id, fix);
    }
    Ok(())
}

pub(crate) fn removals(stack: &str, there: &[Found<EndpointState>]) -> Vec<PlannedStep> {
    deletions(stack, there, "vpc endpoint", |_| Resource::Endpoint)
}

pub(crate) async fn create(at: &Applier<'_>, service: &str) -> Result<String, Error> {
    let vpc = at.id(&Role::Vpc)?;
    let name = format!("com.amazonaws.{}.{service}", at.desired()?.spec.region);
    let tables = route_tables(at, &TIERS)?;
    let role = Role::Endpoint(service.to_owned());
    let tags = at.tags(ResourceType::VpcEndpoint, &role)?;
    let token = token();
    let answer = settled(async || {
        let call = at.ec2.create_vpc_endpoint().vpc_id(vpc).service_name(&name);
        let call = call.vpc_endpoint_type(VpcEndpointType::Gateway);
        let call = call.set_route_table_ids(Some(tables.clone()));
        let call = call.tag_specifications(tags.clone()).client_token(&token);
        call.send().await.calling("CreateVpcEndpoint")
    })
    .await?;
    let id = answer.vpc_endpoint;
    let id = id.and_then(|endpoint| endpoint.vpc_endpoint_id);
    required(id, "CreateVpcEndpoint", "the endpoint's id")
}

/// Lets the route tables of these tiers lead to the endpoint.
pub(crate) async fn link(at: &Applier<'_>, service: &str, tiers: &[Tier]) -> Result<(), Error> {
    let endpoint = at.id(&Role::Endpoint(service.to_owned()))?;
    let tables = route_tables(at, tiers)?;
    let call = at.ec2.modify_vpc_endpoint().vpc_endpoint_id(endpoint);
    let call = call.set_add_route_table_ids(Some(tables));
    call.send().await.calling("ModifyVpcEndpoint")?;
    Ok(())
}

fn route_tables(at: &Applier<'_>, tiers: &[Tier]) -> Result<Vec<String>, Error> {
    let table = |tier: &Tier| at.id(&Role::Routes(*tier)).map(str::to_owned);
    tiers.iter().map(table).collect()
}

pub(crate) async fn delete(ec2: &Client, id: &str, step: &Step<'_>) -> Result<(), Error> {
    released(step, async || {
        let call = ec2.delete_vpc_endpoints().vpc_endpoint_ids(id);
        call.send().await.calling("DeleteVpcEndpoints")
    })
    .await
}
