//! What the network should be, as a stack's owner says it.

use ipnet::Ipv4Net;
use onspot_reconcile::{STACK, Tags};
use serde::{Deserialize, Serialize};

use crate::{AddressPlan, Error, Role};

/// How instances without a public address reach the internet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nat {
    /// One NAT gateway with an elastic address, in the first zone.
    #[default]
    Gateway,
    /// None: managers and workers get public addresses (and still no inbound rule from outside).
    None,
}

/// The network of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// The stack's name.
    pub stack: String,
    /// The region, for example `eu-west-1`.
    pub region: String,
    /// The VPC's address range, from /16 to /23.
    pub cidr: Ipv4Net,
    /// The availability zones, for example `eu-west-1a`; one at least.
    pub zones: Vec<String>,
    /// How private instances reach the internet.
    pub nat: Nat,
    /// The one TCP port at which workers reach managers, if there is any.
    pub manager_port: Option<u16>,
    /// Further tags of every resource.
    pub tags: Tags,
}

impl NetworkSpec {
    /// The range that is used if none is given.
    pub const DEFAULT_CIDR: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 0, 0, 0), 16);

    /// A network with the default range, a NAT gateway, and no further tags.
    pub fn new(
        stack: impl Into<String>,
        region: impl Into<String>,
        zones: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            stack: stack.into(),
            region: region.into(),
            cidr: Self::DEFAULT_CIDR,
            zones: zones.into_iter().map(Into::into).collect(),
            nat: Nat::default(),
            manager_port: None,
            tags: Tags::new(),
        }
    }
}

/// The wanted network: a checked specification with its address plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// What it was made from.
    pub spec: NetworkSpec,
    /// Which subnet gets which range.
    pub addresses: AddressPlan,
}

/// Checks `spec` and lays out its addresses.
///
/// # Errors
///
/// Those of [`AddressPlan::new`], and [`Error::Tag`] for a tag that AWS would refuse.
pub fn desired(spec: &NetworkSpec) -> Result<Desired, Error> {
    let addresses = AddressPlan::new(spec.cidr, &spec.zones)?;
    spec.tags.check()?;
    Ok(Desired {
        spec: spec.clone(),
        addresses,
    })
}

impl Desired {
    /// The tags of one part.
    pub(crate) fn tags(&self, role: &Role) -> Tags {
        let mut tags = self.spec.tags.clone();
        tags.extend([(STACK, self.spec.stack.as_str())]);
        tags.with_role(role.to_string())
            .with_name(role.name(&self.spec.stack))
    }
}
