//! What is there: everything tagged with the stack's name.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Tag};
use onspot_reconcile::{ROLE, STACK, Tags};

use crate::network::SubnetId;
use crate::{Member, Nat, NetplanError, Network, Role, Tier};

mod describe;

pub(crate) use describe::ANYWHERE;

/// A resource of the stack, with what the diff needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// EC2's id.
    pub id: String,
    /// The part of the network that its tag says it is; `None` if the tag says nothing
    /// that is known here.
    pub role: Option<Role>,
    /// The rest.
    pub state: T,
}

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

/// An internet gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayState {
    /// The VPCs that it is attached to.
    pub attached_to: Vec<String>,
}

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

/// A NAT gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatState {
    /// The subnet that it is in.
    pub subnet: String,
    /// Whether it works already.
    pub available: bool,
}

/// An elastic address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressState {
    /// The address itself.
    pub public_ip: String,
}

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

/// A gateway endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// The route tables that lead to it.
    pub route_tables: Vec<String>,
}

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

/// All network resources of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The stack's name.
    pub stack: String,
    /// VPCs.
    pub vpcs: Vec<Found<VpcState>>,
    /// Internet gateways.
    pub gateways: Vec<Found<GatewayState>>,
    /// Subnets.
    pub subnets: Vec<Found<SubnetState>>,
    /// NAT gateways that work or will; not the deleted ones that EC2 still lists.
    pub nats: Vec<Found<NatState>>,
    /// Elastic addresses.
    pub addresses: Vec<Found<AddressState>>,
    /// Route tables.
    pub routes: Vec<Found<RoutesState>>,
    /// Gateway endpoints, without deleted ones.
    pub endpoints: Vec<Found<EndpointState>>,
    /// Security groups.
    pub groups: Vec<Found<GroupState>>,
}

/// Everything that is tagged with the stack's name.
pub async fn observe(ec2: &Client, stack: &str) -> Result<Observed, NetplanError> {
    let (vpcs, gateways, subnets, nats, addresses, routes, endpoints, groups) = tokio::try_join!(
        describe::vpcs(ec2, stack),
        describe::gateways(ec2, stack),
        describe::subnets(ec2, stack),
        describe::nats(ec2, stack),
        describe::addresses(ec2, stack),
        describe::routes(ec2, stack),
        describe::endpoints(ec2, stack),
        describe::groups(ec2, stack),
    )?;
    let stack = stack.to_owned();
    Ok(Observed {
        stack,
        vpcs,
        gateways,
        subnets,
        nats,
        addresses,
        routes,
        endpoints,
        groups,
    })
}

impl Observed {
    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.ids().next().is_none()
    }

    /// The zones that there are subnets in.
    pub fn zones(&self) -> BTreeSet<String> {
        let roles = self
            .subnets
            .iter()
            .filter_map(|subnet| subnet.role.as_ref());
        roles
            .filter_map(|role| match role {
                Role::Subnet(_, zone) => Some(zone.clone()),
                _ => None,
            })
            .collect()
    }

    /// The ids of all parts whose role is known.
    pub fn by_role(&self) -> BTreeMap<Role, String> {
        let known = self
            .ids()
            .filter_map(|(role, id)| Some((role.cloned()?, id.to_owned())));
        known.collect()
    }

    /// The network, if all of its parts are there.
    pub fn network(&self) -> Option<Network> {
        let nat = if self.nats.is_empty() {
            Nat::None
        } else {
            Nat::Gateway
        };
        network_of(&self.by_role(), nat).ok()
    }

    /// Role and id of everything.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (Option<&Role>, &str)> {
        pairs(&self.vpcs)
            .chain(pairs(&self.gateways))
            .chain(pairs(&self.subnets))
            .chain(pairs(&self.nats))
            .chain(pairs(&self.addresses))
            .chain(pairs(&self.routes))
            .chain(pairs(&self.endpoints))
            .chain(pairs(&self.groups))
    }
}

fn pairs<T>(found: &[Found<T>]) -> impl Iterator<Item = (Option<&Role>, &str)> {
    found
        .iter()
        .map(|found| (found.role.as_ref(), found.id.as_str()))
}

/// The network that these ids make up.
pub(crate) fn network_of(ids: &BTreeMap<Role, String>, nat: Nat) -> Result<Network, NetplanError> {
    let one = |role: Role| {
        let id = ids.get(&role).cloned();
        id.ok_or_else(|| NetplanError::Missing {
            role: role.to_string(),
        })
    };
    let subnets = |wanted: Tier| {
        let subnet = |(role, id): (&Role, &String)| match role {
            Role::Subnet(tier, zone) if *tier == wanted => Some(SubnetId {
                id: id.clone(),
                zone: zone.clone(),
            }),
            _ => None,
        };
        ids.iter().filter_map(subnet).collect()
    };
    Ok(Network {
        vpc_id: one(Role::Vpc)?,
        public_subnets: subnets(Tier::Public),
        private_subnets: subnets(Tier::Private),
        manager_sg: one(Role::SecurityGroup(Member::Manager))?,
        worker_sg: one(Role::SecurityGroup(Member::Worker))?,
        nat,
    })
}

/// The filter that finds the stack's resources.
fn of_stack(stack: &str) -> Filter {
    Filter::builder()
        .name(format!("tag:{STACK}"))
        .values(stack)
        .build()
}

/// The role that a resource's tags give it.
fn role_of(tags: Option<Vec<Tag>>) -> Option<Role> {
    let pairs = tags.unwrap_or_default().into_iter();
    let tags: Tags = pairs
        .filter_map(|tag| Some((tag.key?, tag.value?)))
        .collect();
    tags.get(ROLE)?.parse().ok()
}
