//! One describe call a kind of resource, over all pages.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    IpPermission, NatGatewayState, RouteState, RouteTable, UserIdGroupPair, Vpc, VpcAttributeName,
};
use onspot_reconcile::ServiceResultExt;

use super::{
    AddressState, EndpointState, Found, GatewayState, GroupState, InboundRule, NatState,
    RoutesState, SubnetState, VpcState, of_stack, role_of,
};
use crate::NetplanError;

type Result<T> = std::result::Result<Vec<Found<T>>, NetplanError>;

/// Where everything goes that no other route covers.
pub(crate) const ANYWHERE: &str = "0.0.0.0/0";

/// The VPCs, with the two attributes that only calls of their own tell.
pub(super) async fn vpcs(ec2: &Client, stack: &str) -> Result<VpcState> {
    let mut pages = ec2
        .describe_vpcs()
        .filters(of_stack(stack))
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        for vpc in page.calling("DescribeVpcs")?.vpcs.unwrap_or_default() {
            found.extend(of_vpc(ec2, vpc).await?);
        }
    }
    Ok(found)
}

async fn of_vpc(
    ec2: &Client,
    vpc: Vpc,
) -> std::result::Result<Option<Found<VpcState>>, NetplanError> {
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

/// The internet gateways.
pub(super) async fn gateways(ec2: &Client, stack: &str) -> Result<GatewayState> {
    let mut pages = ec2
        .describe_internet_gateways()
        .filters(of_stack(stack))
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let gateways = page.calling("DescribeInternetGateways")?.internet_gateways;
        found.extend(
            gateways
                .unwrap_or_default()
                .into_iter()
                .filter_map(|gateway| {
                    let attachments = gateway.attachments.unwrap_or_default().into_iter();
                    let attached_to = attachments
                        .filter_map(|attachment| attachment.vpc_id)
                        .collect();
                    let (id, role) = (gateway.internet_gateway_id?, role_of(gateway.tags));
                    Some(Found {
                        id,
                        role,
                        state: GatewayState { attached_to },
                    })
                }),
        );
    }
    Ok(found)
}

/// The subnets.
pub(super) async fn subnets(ec2: &Client, stack: &str) -> Result<SubnetState> {
    let mut pages = ec2
        .describe_subnets()
        .filters(of_stack(stack))
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let subnets = page.calling("DescribeSubnets")?.subnets.unwrap_or_default();
        found.extend(subnets.into_iter().filter_map(|subnet| {
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
        }));
    }
    Ok(found)
}

/// The NAT gateways that work or will.
pub(super) async fn nats(ec2: &Client, stack: &str) -> Result<NatState> {
    let mut pages = ec2
        .describe_nat_gateways()
        .filter(of_stack(stack))
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let gateways = page
            .calling("DescribeNatGateways")?
            .nat_gateways
            .unwrap_or_default();
        found.extend(gateways.into_iter().filter_map(|nat| {
            let available = match nat.state? {
                NatGatewayState::Available => true,
                NatGatewayState::Pending => false,
                // A failed one is removed by EC2 itself after about an hour.
                _ => return None,
            };
            let state = NatState {
                subnet: nat.subnet_id.unwrap_or_default(),
                available,
            };
            Some(Found {
                id: nat.nat_gateway_id?,
                role: role_of(nat.tags),
                state,
            })
        }));
    }
    Ok(found)
}

/// The elastic addresses. This call has no pages.
pub(super) async fn addresses(ec2: &Client, stack: &str) -> Result<AddressState> {
    let answer = ec2
        .describe_addresses()
        .filters(of_stack(stack))
        .send()
        .await;
    let addresses = answer
        .calling("DescribeAddresses")?
        .addresses
        .unwrap_or_default();
    let found = addresses.into_iter().filter_map(|address| {
        let state = AddressState {
            public_ip: address.public_ip.unwrap_or_default(),
        };
        Some(Found {
            id: address.allocation_id?,
            role: role_of(address.tags),
            state,
        })
    });
    Ok(found.collect())
}

/// The route tables.
pub(super) async fn routes(ec2: &Client, stack: &str) -> Result<RoutesState> {
    let mut pages = ec2
        .describe_route_tables()
        .filters(of_stack(stack))
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let tables = page
            .calling("DescribeRouteTables")?
            .route_tables
            .unwrap_or_default();
        found.extend(tables.into_iter().filter_map(of_table));
    }
    Ok(found)
}

fn of_table(table: RouteTable) -> Option<Found<RoutesState>> {
    let associations = table.associations.unwrap_or_default().into_iter();
    let default = table.routes.unwrap_or_default().into_iter();
    let mut default =
        default.filter(|route| route.destination_cidr_block.as_deref() == Some(ANYWHERE));
    let default = default.next();
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

/// The gateway endpoints.
pub(super) async fn endpoints(ec2: &Client, stack: &str) -> Result<EndpointState> {
    let mut pages = ec2
        .describe_vpc_endpoints()
        .filters(of_stack(stack))
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let endpoints = page
            .calling("DescribeVpcEndpoints")?
            .vpc_endpoints
            .unwrap_or_default();
        found.extend(endpoints.into_iter().filter_map(|endpoint| {
            // EC2 documents these states capitalised and sends them in lower case.
            let state = endpoint
                .state
                .as_ref()
                .map(|state| state.as_str().to_lowercase());
            if matches!(state.as_deref(), Some("deleted" | "deleting" | "failed")) {
                return None;
            }
            let route_tables = endpoint.route_table_ids.unwrap_or_default();
            let (id, role) = (endpoint.vpc_endpoint_id?, role_of(endpoint.tags));
            Some(Found {
                id,
                role,
                state: EndpointState { route_tables },
            })
        }));
    }
    Ok(found)
}

/// The security groups.
pub(super) async fn groups(ec2: &Client, stack: &str) -> Result<GroupState> {
    let mut pages = ec2
        .describe_security_groups()
        .filters(of_stack(stack))
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let groups = page
            .calling("DescribeSecurityGroups")?
            .security_groups
            .unwrap_or_default();
        found.extend(groups.into_iter().filter_map(|group| {
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
        }));
    }
    Ok(found)
}

/// The rules that EC2 has put into one, as they differ in their source alone.
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
