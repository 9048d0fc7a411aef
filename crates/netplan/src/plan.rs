//! A plan: the changes, for people to read, and the calls that make them.

use std::collections::BTreeMap;

use onspot_reconcile::{Change, Plan, TagDrift};

use crate::spec::Desired;
use crate::{Member, Role, Tier};

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
    /// Whether it removes something that instances may still use: see [`NetworkPlan::split`].
    pub(crate) late: bool,
}

/// One call, or a call and a wait. Names parts by role, as their ids may not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Create(Role),
    EnableDns,
    AttachGateway,
    GivePublicAddresses {
        zone: String,
    },
    AwaitNat,
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
    LinkEndpoint {
        service: String,
        tiers: Vec<Tier>,
    },
    CloseInbound {
        member: Member,
    },
    OpenOutbound {
        member: Member,
    },
    /// Opens a port of the managers to the workers.
    OpenPort {
        port: u16,
    },
    Tag {
        id: String,
        drift: TagDrift,
    },
    /// By id and not by role, because resources without a known role must go too.
    Delete {
        resource: Resource,
        id: String,
    },
}

/// A kind of resource, with what its deletion needs besides the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    Vpc,
    Gateway { attached_to: Vec<String> },
    Subnet,
    Nat,
    Address,
    Routes { associations: Vec<String> },
    Endpoint,
    SecurityGroup,
}

impl NetworkPlan {
    /// The plan as data for people and programs.
    pub fn plan(&self) -> Plan {
        self.steps.iter().map(|step| step.change.clone()).collect()
    }

    /// Splits the plan into what can be done at once and what has to wait until no instance uses it
    /// any more: the removal of zones and NAT that are no longer wanted. [`users`](crate::users())
    /// lists those instances.
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
