//! The VPC.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, Vpc, VpcAttributeName};
use onspot_reconcile::{ServiceResultExt, Step};

use crate::call::{Applier, released, required, settled};
use crate::compare::{Diff, Fix, deletions};
use crate::found::{Listed, of_stack, role_of};
use crate::plan::{Action, PlannedStep, Resource};
use crate::{Error, Found, Role};

/// A VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VpcState {
    /// Its range as EC2 writes it.
    pub cidr: String,
    /// Whether Amazon's name server answers in it.
    pub dns_support: bool,
    /// Whether instances get host names.
    pub dns_hostnames: bool,
}

/// The VPCs, with two attributes that each need a call of their own.
pub(crate) async fn observe(ec2: &Client, stack: &str) -> Listed<VpcState> {
    let call = ec2.describe_vpcs().filters(of_stack(stack));
    let vpcs = call.into_paginator().items().send().try_collect().await;
    let mut found = Vec::new();
    for vpc in vpcs.calling("DescribeVpcs")? {
        found.extend(of_vpc(ec2, vpc).await?);
    }
    Ok(found)
}

async fn of_vpc(ec2: &Client, vpc: Vpc) -> Result<Option<Found<VpcState>>, Error> {
    let Some(id) = vpc.vpc_id else {
        return Ok(None);
    };
    let attribute = |name: VpcAttributeName| {
        ec2.describe_vpc_attribute()
            .vpc_id(&id)
            .attribute(name)
            .send()
    };
    let support = attribute(VpcAttributeName::EnableDnsSupport).await;
    let support = support.calling("DescribeVpcAttribute")?.enable_dns_support;
    let hostnames = attribute(VpcAttributeName::EnableDnsHostnames).await;
    let hostnames = hostnames
        .calling("DescribeVpcAttribute")?
        .enable_dns_hostnames;
    let state = VpcState {
        cidr: vpc.cidr_block.unwrap_or_default(),
        dns_support: support.and_then(|value| value.value).unwrap_or_default(),
        dns_hostnames: hostnames.and_then(|value| value.value).unwrap_or_default(),
    };
    Ok(Some(Found {
        id,
        role: role_of(vpc.tags),
        state,
    }))
}

/// Wants one VPC with the wanted range, in which names are resolved.
pub(crate) fn diff(diff: &mut Diff<'_>, there: &[Found<VpcState>]) -> Result<(), Error> {
    let range = diff.desired.spec.cidr;
    let Some(vpc) = diff.one(there, &Role::Vpc)? else {
        let change = diff.create(&Role::Vpc).setting("cidr", range.to_string());
        diff.push(change, vec![Action::Create(Role::Vpc), Action::EnableDns]);
        return Ok(());
    };
    if vpc.state.cidr != range.to_string() {
        return Err(Error::RangeChanged {
            existing: vpc.state.cidr.clone(),
            wanted: range,
        });
    }
    let mut fix = Fix::default();
    if !(vpc.state.dns_support && vpc.state.dns_hostnames) {
        fix.add("dns", "off", "on", [Action::EnableDns]);
    }
    diff.keep_or_update(&Role::Vpc, &vpc.id, fix);
    Ok(())
}

pub(crate) fn removals(stack: &str, there: &[Found<VpcState>]) -> Vec<PlannedStep> {
    deletions(stack, there, "vpc", |_| Resource::Vpc)
}

pub(crate) async fn create(at: &Applier<'_>) -> Result<String, Error> {
    let range = at.desired()?.spec.cidr;
    let call = at.ec2.create_vpc().cidr_block(range.to_string());
    let call = call.tag_specifications(at.tags(ResourceType::Vpc, &Role::Vpc)?);
    let vpc = call.send().await.calling("CreateVpc")?.vpc;
    required(vpc.and_then(|vpc| vpc.vpc_id), "CreateVpc", "the VPC's id")
}

/// EC2 takes one attribute a call.
pub(crate) async fn enable_dns(at: &Applier<'_>) -> Result<(), Error> {
    let vpc = at.id(&Role::Vpc)?;
    let on = || AttributeBooleanValue::builder().value(true).build();
    let call = || at.ec2.modify_vpc_attribute().vpc_id(vpc);
    settled(async || {
        let call = call().enable_dns_support(on());
        call.send().await.calling("ModifyVpcAttribute")
    })
    .await?;
    settled(async || {
        let call = call().enable_dns_hostnames(on());
        call.send().await.calling("ModifyVpcAttribute")
    })
    .await?;
    Ok(())
}

pub(crate) async fn delete(ec2: &Client, id: &str, step: &Step<'_>) -> Result<(), Error> {
    released(step, async || {
        let call = ec2.delete_vpc().vpc_id(id);
        call.send().await.calling("DeleteVpc")
    })
    .await
}
