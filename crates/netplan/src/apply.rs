//! Carries out a plan, call by call, and reports what happens.
//!
//! Every call that creates a resource also tags it, so that the next run finds what a crash has
//! left behind.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use onspot_reconcile::{EventSender, Step};

use crate::call::Applier;
use crate::plan::{Action, Resource};
use crate::resource::{endpoint, gateway, nat, routes, security_group, subnet, vpc};
use crate::{Error, Nat, Network, NetworkPlan, Role, tagging};

/// Carries out `plan`. After a failure or a crash, a run with a fresh plan continues from there.
///
/// # Errors
///
/// [`Error::Call`] if EC2 refuses a call or cannot be reached, [`Error::NatFailed`] and
/// [`Error::TooSlow`] if the NAT gateway does not start or end, [`Error::Missing`] if the network
/// is incomplete after `plan`: `plan` is only a part of one ([`split`](NetworkPlan::split)) or a
/// [`teardown`](crate::teardown()).
pub async fn apply(
    ec2: &Client,
    plan: &NetworkPlan,
    events: &EventSender,
) -> Result<Network, Error> {
    let mut ids = run(ec2, plan, events).await?;
    let mut nat = Nat::None;
    if let Some(desired) = &plan.desired {
        nat = desired.spec.nat;
        // Zones that are no longer wanted may still exist; nothing new may go into them.
        ids.retain(|role, _| match role {
            Role::Subnet(_, zone) => desired.addresses.zones.contains_key(zone),
            _ => true,
        });
    }
    Network::of(&ids, nat)
}

/// Carries out a plan that removes: a [`teardown`](crate::teardown()), or the later part of a
/// [split](NetworkPlan::split) plan.
///
/// # Errors
///
/// [`Error::Call`] if EC2 refuses a call or cannot be reached, for example because something still
/// uses a resource after minutes; [`Error::TooSlow`] if a NAT gateway does not end.
pub async fn destroy(ec2: &Client, plan: &NetworkPlan, events: &EventSender) -> Result<(), Error> {
    run(ec2, plan, events).await.map(drop)
}

async fn run(
    ec2: &Client,
    plan: &NetworkPlan,
    events: &EventSender,
) -> Result<BTreeMap<Role, String>, Error> {
    let mut applier = Applier {
        ec2,
        desired: plan.desired.as_ref(),
        ids: plan.ids.clone(),
    };
    for planned in plan.steps.iter().filter(|step| !step.actions.is_empty()) {
        let change = &planned.change;
        let what = change.title();
        let step = Step::start(events, what);
        let mut made = change.id.clone();
        for action in &planned.actions {
            match act(&mut applier, action, &step).await {
                Ok(Some(id)) => made = Some(id),
                Ok(None) => {}
                Err(error) => {
                    step.failed(&error);
                    return Err(error);
                }
            }
        }
        step.done(made.as_deref());
    }
    Ok(applier.ids)
}

/// Does one action; returns the id of what it created.
async fn act(
    at: &mut Applier<'_>,
    action: &Action,
    step: &Step<'_>,
) -> Result<Option<String>, Error> {
    match action {
        Action::Create(role) => {
            let id = create(at, role).await?;
            at.ids.insert(role.clone(), id.clone());
            return Ok(Some(id));
        }
        Action::Delete { resource, id } => {
            delete(at.ec2, resource, id, step).await?;
            at.ids.retain(|_, known| known != id);
        }
        Action::EnableDns => vpc::enable_dns(at).await?,
        Action::AttachGateway => gateway::attach(at).await?,
        Action::GivePublicAddresses { zone } => subnet::give_public_addresses(at, zone).await?,
        Action::AwaitNat => nat::await_available(at, step).await?,
        Action::SetDefaultRoute { tier, via, replace } => {
            routes::set_default(at, *tier, via, *replace).await?;
        }
        Action::RemoveDefaultRoute { tier } => routes::remove_default(at, *tier).await?,
        Action::UseRoutes { tier, zone } => routes::use_table(at, *tier, zone).await?,
        Action::LinkEndpoint { service, tiers } => endpoint::link(at, service, tiers).await?,
        Action::CloseInbound { member } => security_group::close_inbound(at, *member).await?,
        Action::OpenPort { port } => security_group::open_port(at, *port).await?,
        Action::Tag { id, drift } => tagging::retag(at.ec2, id, drift).await?,
        Action::OpenOutbound { member } => security_group::open_outbound(at, *member).await?,
    }
    Ok(None)
}

async fn create(at: &Applier<'_>, role: &Role) -> Result<String, Error> {
    match role {
        Role::Vpc => vpc::create(at).await,
        Role::InternetGateway => gateway::create(at).await,
        Role::Subnet(tier, zone) => subnet::create(at, *tier, zone).await,
        Role::NatAddress => nat::allocate_address(at).await,
        Role::NatGateway => nat::create(at).await,
        Role::Routes(tier) => routes::create(at, *tier).await,
        Role::Endpoint(service) => endpoint::create(at, service).await,
        Role::SecurityGroup(member) => security_group::create(at, *member).await,
    }
}

/// Deletes by id. A resource that is already gone is no error.
async fn delete(ec2: &Client, resource: &Resource, id: &str, step: &Step<'_>) -> Result<(), Error> {
    match resource {
        Resource::Vpc => vpc::delete(ec2, id, step).await,
        Resource::Gateway { attached_to } => gateway::delete(ec2, id, attached_to, step).await,
        Resource::Subnet => subnet::delete(ec2, id, step).await,
        Resource::Nat => nat::delete(ec2, id, step).await,
        Resource::Address => nat::release_address(ec2, id, step).await,
        Resource::Routes { associations } => routes::delete(ec2, id, associations, step).await,
        Resource::Endpoint => endpoint::delete(ec2, id, step).await,
        Resource::SecurityGroup => security_group::delete(ec2, id, step).await,
    }
}
