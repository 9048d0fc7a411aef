//! From what is wanted and what is there to what has to be done. Pure.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use onspot_reconcile::{Change, Plan, Tags};

use crate::{AddressPlan, Member, NetplanError, NetworkSpec, Role, Tier};

mod down;
#[cfg(test)]
mod tests;
mod up;

pub use down::teardown;
pub use up::diff;

/// The wanted network: a checked specification with its address plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// What it was made from.
    pub spec: NetworkSpec,
    /// Which subnet gets which range.
    pub addresses: AddressPlan,
}

/// Checks `spec` and lays out its addresses.
pub fn desired(spec: &NetworkSpec) -> Result<Desired, NetplanError> {
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
        tags.extend([(onspot_reconcile::STACK, self.spec.stack.as_str())]);
        tags.with_role(role.to_string())
            .with_name(role.name(&self.spec.stack))
    }
}

/// Steps from what is there to what is wanted, or to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    pub(crate) stack: String,
    /// `None` when the network is to be taken down.
    pub(crate) desired: Option<Desired>,
    /// What is there already.
    pub(crate) ids: BTreeMap<Role, String>,
    pub(crate) steps: Vec<PlannedStep>,
}

/// A change and the calls that make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedStep {
    pub(crate) change: Change,
    pub(crate) actions: Vec<Action>,
    /// Whether it takes away what instances may still use: see [`NetworkPlan::split`].
    pub(crate) late: bool,
}

/// One call, or a call and a wait. Names parts by role where their id may not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    CreateVpc {
        range: Ipv4Net,
    },
    EnableDns,
    CreateGateway,
    AttachGateway,
    CreateSubnet {
        tier: Tier,
        zone: String,
        range: Ipv4Net,
    },
    GivePublicAddresses {
        zone: String,
    },
    AllocateAddress,
    CreateNat {
        zone: String,
    },
    AwaitNat,
    CreateRoutes {
        tier: Tier,
    },
    SetDefaultRoute {
        tier: Tier,
        via: Role,
        replace: bool,
    },
    RemoveDefaultRoute {
        tier: Tier,
    },
    UseRoutes {
        tier: Tier,
        zone: String,
    },
    CreateEndpoint,
    LinkEndpoint {
        tiers: Vec<Tier>,
    },
    CreateGroup {
        member: Member,
    },
    CloseInbound {
        member: Member,
    },
    OpenOutbound {
        member: Member,
    },
    /// A port of the managers, to the workers.
    OpenPort {
        port: u16,
    },
    Delete {
        resource: Resource,
        id: String,
    },
}

/// A kind of resource that can be deleted by its id alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    Vpc,
    Gateway { attached_to: Vec<String> },
    Subnet,
    Nat,
    Address,
    Routes { associations: Vec<String> },
    Endpoint,
    Group,
}

impl NetworkPlan {
    /// The plan as data for people and programs.
    pub fn plan(&self) -> Plan {
        self.steps.iter().map(|step| step.change.clone()).collect()
    }

    /// What can be done at once, and apart from it what has to wait until no instance uses it
    /// any more: zones and NAT that are no longer wanted. [`users`](crate::users) tells who does.
    pub fn split(self) -> (Self, Self) {
        let (late, now) = self.steps.iter().cloned().partition(|step| step.late);
        let later = Self {
            steps: late,
            ..self.clone()
        };
        (Self { steps: now, ..self }, later)
    }

    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.actions.is_empty())
    }
}
