//! What is there: everything tagged with the stack's name.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use onspot_reconcile::Tags;

use crate::resource::{
    endpoint::{self, EndpointState},
    gateway::{self, GatewayState},
    nat::{self, AddressState, NatState},
    routes::{self, RoutesState},
    security_group::{self, GroupState},
    subnet::{self, SubnetState},
    vpc::{self, VpcState},
};
use crate::{Error, Found, Nat, Network, Role, tagging};

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
    /// NAT gateways that are available or pending; not the deleted ones that EC2 still lists.
    pub nats: Vec<Found<NatState>>,
    /// Elastic addresses.
    pub addresses: Vec<Found<AddressState>>,
    /// Route tables.
    pub routes: Vec<Found<RoutesState>>,
    /// Gateway endpoints, without deleted ones.
    pub endpoints: Vec<Found<EndpointState>>,
    /// Security groups.
    pub groups: Vec<Found<GroupState>>,
    /// The tags of all of these, by id.
    pub tags: BTreeMap<String, Tags>,
}

/// Everything that is tagged with the stack's name.
///
/// # Errors
///
/// [`Error::Call`] if EC2 refuses to list a kind of resource or cannot be reached.
pub async fn observe(ec2: &Client, stack: &str) -> Result<Observed, Error> {
    let (vpcs, gateways, subnets, nats, addresses, routes, endpoints, groups) = tokio::try_join!(
        vpc::observe(ec2, stack),
        gateway::observe(ec2, stack),
        subnet::observe(ec2, stack),
        nat::observe(ec2, stack),
        nat::observe_addresses(ec2, stack),
        routes::observe(ec2, stack),
        endpoint::observe(ec2, stack),
        security_group::observe(ec2, stack),
    )?;
    let stack = stack.to_owned();
    let mut observed = Observed {
        stack,
        vpcs,
        gateways,
        subnets,
        nats,
        addresses,
        routes,
        endpoints,
        groups,
        tags: BTreeMap::new(),
    };
    let ids = observed.ids().map(|(_, id)| id);
    observed.tags = tagging::describe(ec2, ids).await?;
    Ok(observed)
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
        Network::of(&self.by_role(), nat).ok()
    }

    /// Role and id of everything.
    fn ids(&self) -> impl Iterator<Item = (Option<&Role>, &str)> {
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
