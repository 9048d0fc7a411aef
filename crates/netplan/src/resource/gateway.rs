//! The internet gateway.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{InternetGateway, ResourceType};
use onspot_reconcile::{ServiceResultExt, Step};

use crate::call::{Applier, already_there_is_fine, released, required, settled};
use crate::compare::{Diff, Fix, deletions};
use crate::found::{Listed, of_stack, role_of};
use crate::plan::{Action, PlannedStep, Resource};
use crate::{Error, Found, Role};

/// An internet gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayState {
    /// The VPCs that it is attached to.
    pub attached_to: Vec<String>,
}

/// The internet gateways.
pub(crate) async fn observe(ec2: &Client, stack: &str) -> Listed<GatewayState> {
    let call = ec2.describe_internet_gateways().filters(of_stack(stack));
    let found = call.into_paginator().items().send().try_collect().await;
    let found = found.calling("DescribeInternetGateways")?.into_iter();
    Ok(found.filter_map(of_gateway).collect())
}

fn of_gateway(gateway: InternetGateway) -> Option<Found<GatewayState>> {
    let attachments = gateway.attachments.unwrap_or_default().into_iter();
    let attached_to = attachments
        .filter_map(|attachment| attachment.vpc_id)
        .collect();
    Some(Found {
        id: gateway.internet_gateway_id?,
        role: role_of(gateway.tags),
        state: GatewayState { attached_to },
    })
}

/// One gateway, attached to the VPC.
pub(crate) fn diff(diff: &mut Diff<'_>, there: &[Found<GatewayState>]) -> Result<(), Error> {
    let role = Role::InternetGateway;
    let Some(gateway) = diff.one(there, &role)? else {
        let change = diff.create(&role);
        diff.push(change, vec![Action::Create(role), Action::AttachGateway]);
        return Ok(());
    };
    let mut fix = Fix::default();
    if gateway.state.attached_to.is_empty() {
        fix.add("attached to", "nothing", "vpc", [Action::AttachGateway]);
    }
    diff.keep_or_update(&role, &gateway.id, fix);
    Ok(())
}

pub(crate) fn removals(stack: &str, there: &[Found<GatewayState>]) -> Vec<PlannedStep> {
    deletions(stack, there, "internet gateway", |gateway| {
        let attached_to = gateway.attached_to.clone();
        Resource::Gateway { attached_to }
    })
}

pub(crate) async fn create(at: &Applier<'_>) -> Result<String, Error> {
    let tags = at.tags(ResourceType::InternetGateway, &Role::InternetGateway)?;
    let call = at.ec2.create_internet_gateway().tag_specifications(tags);
    let answer = call.send().await.calling("CreateInternetGateway")?;
    let gateway = answer.internet_gateway;
    let id = gateway.and_then(|gateway| gateway.internet_gateway_id);
    required(id, "CreateInternetGateway", "the gateway's id")
}

pub(crate) async fn attach(at: &Applier<'_>) -> Result<(), Error> {
    let (vpc, gateway) = (at.id(&Role::Vpc)?, at.id(&Role::InternetGateway)?);
    let attached = settled(async || {
        let call = at.ec2.attach_internet_gateway().vpc_id(vpc);
        let call = call.internet_gateway_id(gateway);
        call.send().await.calling("AttachInternetGateway")
    });
    already_there_is_fine(attached.await)
}

pub(crate) async fn delete(
    ec2: &Client,
    id: &str,
    attached_to: &[String],
    step: &Step<'_>,
) -> Result<(), Error> {
    for vpc in attached_to {
        released(step, async || {
            let call = ec2.detach_internet_gateway().vpc_id(vpc);
            let call = call.internet_gateway_id(id);
            call.send().await.calling("DetachInternetGateway")
        })
        .await?;
    }
    released(step, async || {
        let call = ec2.delete_internet_gateway().internet_gateway_id(id);
        call.send().await.calling("DeleteInternetGateway")
    })
    .await
}
