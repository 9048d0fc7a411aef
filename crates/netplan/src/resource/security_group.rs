//! The security groups: nothing in from outside, everything out.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{IpPermission, IpRange, ResourceType, SecurityGroup, UserIdGroupPair};
use onspot_reconcile::{ServiceResultExt, Step};

use crate::call::{ANYWHERE, Applier, already_there_is_fine, released, required, settled};
use crate::compare::{Diff, Fix, deletions};
use crate::found::{Listed, of_stack, role_of};
use crate::plan::{Action, PlannedStep, Resource};
use crate::spec::Desired;
use crate::{Error, Found, Member, Role};

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// Its inbound rules, one for each source.
    pub inbound: Vec<InboundRule>,
    /// Whether everything may leave.
    pub outbound: bool,
}

/// What a security group lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboundRule {
    /// One TCP port, from the members of a group.
    Port {
        /// The port.
        port: u16,
        /// The id of the group that may come in.
        from: String,
    },
    /// Anything else, which is never wanted.
    Other,
}

/// The security groups.
pub(crate) async fn observe(ec2: &Client, stack: &str) -> Listed<GroupState> {
    let call = ec2.describe_security_groups().filters(of_stack(stack));
    let found = call.into_paginator().items().send().try_collect().await;
    let found = found.calling("DescribeSecurityGroups")?.into_iter();
    Ok(found.filter_map(of_group).collect())
}

fn of_group(group: SecurityGroup) -> Option<Found<GroupState>> {
    let outbound = group.ip_permissions_egress.unwrap_or_default();
    let inbound = group.ip_permissions.unwrap_or_default();
    let state = GroupState {
        inbound: inbound.iter().flat_map(inbound_rules).collect(),
        outbound: outbound.iter().any(is_open),
    };
    Some(Found {
        id: group.group_id?,
        role: role_of(group.tags),
        state,
    })
}

/// Splits a rule of EC2's answer: EC2 merges rules that differ only in their source.
fn inbound_rules(rule: &IpPermission) -> Vec<InboundRule> {
    let port = match (rule.ip_protocol(), rule.from_port(), rule.to_port()) {
        (Some("tcp"), Some(from), Some(to)) if from == to => u16::try_from(from).ok(),
        _ => None,
    };
    let of_group = |pair: &UserIdGroupPair| match (port, pair.group_id()) {
        (Some(port), Some(group)) => InboundRule::Port {
            port,
            from: group.to_owned(),
        },
        _ => InboundRule::Other,
    };
    let others = rule.ip_ranges().len() + rule.ipv6_ranges().len() + rule.prefix_list_ids().len();
    let groups = rule.user_id_group_pairs().iter().map(of_group);
    groups
        .chain(std::iter::repeat_n(InboundRule::Other, others))
        .collect()
}

/// Whether a rule lets everything through to anywhere.
fn is_open(rule: &IpPermission) -> bool {
    let anywhere = rule
        .ip_ranges()
        .iter()
        .any(|range| range.cidr_ip() == Some(ANYWHERE));
    rule.ip_protocol() == Some("-1") && anywhere
}

/// The port of each member that workers may reach. The managers' group is last, because its rule
/// may name the workers' group.
fn desired(desired: &Desired) -> [(Member, Option<u16>); 2] {
    let port = desired.spec.manager_port;
    [(Member::Worker, None), (Member::Manager, port)]
}

/// Wants a group for each member, with only the wanted inbound rule and all outbound traffic.
pub(crate) fn diff(diff: &mut Diff<'_>, there: &[Found<GroupState>]) -> Result<(), Error> {
    for (member, port) in desired(diff.desired) {
        let role = Role::SecurityGroup(member);
        let open = port.map(|port| Action::OpenPort { port });
        let wanted = port.map(|port| format!("port {port} from workers"));
        let wanted = wanted.unwrap_or_else(|| "none".to_owned());
        let Some(group) = diff.one(there, &role)? else {
            let change = diff.create(&role).setting("inbound", wanted);
            let create = std::iter::once(Action::Create(role));
            diff.push(change, create.chain(open).collect());
            continue;
        };
        let mut fix = Fix::default();
        let rules = &group.state.inbound;
        if !is_right(diff, rules, port) {
            let old = match rules.len() {
                0 => "none".to_owned(),
                1 => "1 rule".to_owned(),
                count => format!("{count} rules"),
            };
            // All existing rules are removed before the wanted one is added.
            let close = (!rules.is_empty()).then_some(Action::CloseInbound { member });
            fix.add("inbound", &old, &wanted, close.into_iter().chain(open));
        }
        if !group.state.outbound {
            let open = Action::OpenOutbound { member };
            fix.add("outbound", "restricted", "all", [open]);
        }
        diff.keep_or_update(&role, &group.id, fix);
    }
    Ok(())
}

/// Whether these are exactly the wanted rules.
fn is_right(diff: &Diff<'_>, rules: &[InboundRule], port: Option<u16>) -> bool {
    let workers = Role::SecurityGroup(Member::Worker);
    match (rules, port) {
        ([], None) => true,
        ([InboundRule::Port { port: open, from }], Some(port)) => {
            *open == port && diff.ids.get(&workers) == Some(from)
        }
        _ => false,
    }
}

/// The managers' group goes first: its rule may name the workers' group, which EC2 refuses to
/// delete until then.
pub(crate) fn removals(stack: &str, there: &[Found<GroupState>]) -> Vec<PlannedStep> {
    let mut groups: Vec<_> = there.iter().collect();
    groups.sort_by(|a, b| a.role.cmp(&b.role));
    deletions(stack, groups, "security group", |_| Resource::SecurityGroup)
}

/// A new group lets everything out and nothing in, which is just what is wanted.
pub(crate) async fn create(at: &Applier<'_>, member: Member) -> Result<String, Error> {
    let vpc = at.id(&Role::Vpc)?;
    let role = Role::SecurityGroup(member);
    let name = role.name(&at.desired()?.spec.stack);
    let tags = at.tags(ResourceType::SecurityGroup, &role)?;
    let answer = settled(async || {
        let call = at.ec2.create_security_group().vpc_id(vpc).group_name(&name);
        let text = format!("onspot {member}s: nothing in from outside, everything out");
        let call = call.description(text);
        let call = call.tag_specifications(tags.clone());
        call.send().await.calling("CreateSecurityGroup")
    })
    .await?;
    required(answer.group_id, "CreateSecurityGroup", "the group's id")
}

/// Revokes all inbound rules that the group has by now.
pub(crate) async fn close_inbound(at: &Applier<'_>, member: Member) -> Result<(), Error> {
    let group = at.id(&Role::SecurityGroup(member))?;
    let call = at.ec2.describe_security_groups().group_ids(group);
    let answer = call.send().await.calling("DescribeSecurityGroups")?;
    let groups = answer.security_groups.unwrap_or_default().into_iter();
    let rules: Vec<IpPermission> = groups
        .flat_map(|group| group.ip_permissions.unwrap_or_default())
        .collect();
    if !rules.is_empty() {
        let call = at.ec2.revoke_security_group_ingress().group_id(group);
        let call = call.set_ip_permissions(Some(rules));
        call.send().await.calling("RevokeSecurityGroupIngress")?;
    }
    Ok(())
}

pub(crate) async fn open_outbound(at: &Applier<'_>, member: Member) -> Result<(), Error> {
    let role = Role::SecurityGroup(member);
    let group = at.id(&role)?;
    let tags = at.tags(ResourceType::SecurityGroupRule, &role)?;
    let anywhere = IpRange::builder().cidr_ip(ANYWHERE).build();
    let all = IpPermission::builder()
        .ip_protocol("-1")
        .ip_ranges(anywhere)
        .build();
    let call = at.ec2.authorize_security_group_egress().group_id(group);
    let call = call.ip_permissions(all).tag_specifications(tags);
    let opened = call.send().await;
    let opened = opened.calling("AuthorizeSecurityGroupEgress");
    already_there_is_fine(opened.map_err(Error::from))
}

/// Opens a port of the managers to the workers and to nobody else.
pub(crate) async fn open_port(at: &Applier<'_>, port: u16) -> Result<(), Error> {
    let role = Role::SecurityGroup(Member::Manager);
    let managers = at.id(&role)?;
    let tags = at.tags(ResourceType::SecurityGroupRule, &role)?;
    let workers = at.id(&Role::SecurityGroup(Member::Worker))?;
    let from = UserIdGroupPair::builder()
        .group_id(workers)
        .description("onspot workers")
        .build();
    let rule = IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(port.into())
        .to_port(port.into())
        .user_id_group_pairs(from)
        .build();
    let opened = settled(async || {
        let call = at.ec2.authorize_security_group_ingress();
        let call = call.group_id(managers).ip_permissions(rule.clone());
        let call = call.tag_specifications(tags.clone());
        call.send().await.calling("AuthorizeSecurityGroupIngress")
    });
    already_there_is_fine(opened.await)
}

pub(crate) async fn delete(ec2: &Client, id: &str, step: &Step<'_>) -> Result<(), Error> {
    released(step, async || {
        let call = ec2.delete_security_group().group_id(id);
        call.send().await.calling("DeleteSecurityGroup")
    })
    .await
}
