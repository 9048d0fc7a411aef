//! The NAT gateway and its elastic address.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{DomainType, NatGateway, NatGatewayState, ResourceType};
use onspot_reconcile::{CallError, Change, Patience, ServiceResultExt, Step};

use crate::call::{Applier, released, required, token};
use crate::compare::{Diff, Fix, deletions};
use crate::found::{Listed, of_stack, role_of};
use crate::plan::{Action, PlannedStep, Resource};
use crate::spec::Desired;
use crate::{Error, Found, Nat, Role, Tier};

/// How long a deleted NAT gateway may still hold its address.
const LETTING_GO: Patience = Patience::new(Duration::from_secs(3), Duration::from_mins(2));
/// How long a NAT gateway may take to start or to end.
const CHANGING: Patience = Patience::new(Duration::from_secs(2), Duration::from_mins(10));

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

/// The NAT gateways that are available or pending.
pub(crate) async fn observe(ec2: &Client, stack: &str) -> Listed<NatState> {
    let call = ec2.describe_nat_gateways().filter(of_stack(stack));
    let found = call.into_paginator().items().send().try_collect().await;
    let found = found.calling("DescribeNatGateways")?.into_iter();
    Ok(found.filter_map(of_nat).collect())
}

fn of_nat(nat: NatGateway) -> Option<Found<NatState>> {
    let available = match nat.state? {
        NatGatewayState::Available => true,
        NatGatewayState::Pending => false,
        // EC2 itself removes a failed one after about an hour.
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
}

/// The elastic addresses. This call has no pages.
pub(crate) async fn observe_addresses(ec2: &Client, stack: &str) -> Listed<AddressState> {
    let call = ec2.describe_addresses().filters(of_stack(stack));
    let addresses = call.send().await.calling("DescribeAddresses")?.addresses;
    let addresses = addresses.unwrap_or_default().into_iter();
    let found = addresses.filter_map(|address| {
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

/// The zone of the NAT gateway, where one is wanted.
fn desired(desired: &Desired) -> Result<Option<String>, Error> {
    match desired.spec.nat {
        Nat::None => Ok(None),
        Nat::Gateway => {
            let zone = desired.spec.zones.first().cloned();
            zone.ok_or(Error::NoZone).map(Some)
        }
    }
}

/// Wants one NAT gateway with its address in any of the wanted zones, or none; [`leftovers`] then
/// removes an existing one.
pub(crate) fn diff(
    diff: &mut Diff<'_>,
    addresses: &[Found<AddressState>],
    nats: &[Found<NatState>],
) -> Result<(), Error> {
    let Some(zone) = desired(diff.desired)? else {
        return Ok(());
    };
    let role = Role::NatGateway;
    let address = diff.one(addresses, &Role::NatAddress)?;
    let nat = diff.one(nats, &role)?;
    match address {
        Some(address) => diff.keep_or_update(&Role::NatAddress, &address.id, Fix::default()),
        None if nat.is_none() => {
            let change = diff.create(&Role::NatAddress);
            diff.push(change, vec![Action::Create(Role::NatAddress)]);
        }
        None => {}
    }
    let Some(nat) = nat else {
        let change = diff.create(&role).setting("zone", zone);
        diff.push(change, vec![Action::Create(role)]);
        return Ok(());
    };
    let mut zones = diff.desired.addresses.zones.keys();
    let stays = zones.any(|zone| {
        let subnet = Role::Subnet(Tier::Public, zone.clone());
        diff.ids.get(&subnet) == Some(&nat.state.subnet)
    });
    if stays {
        diff.keep_or_update(&role, &nat.id, Fix::default());
        return Ok(());
    }
    let change = Change::replace(role.resource(), diff.name(&role));
    let change = change.with_id(&nat.id).setting("zone", zone);
    let delete = Action::Delete {
        resource: Resource::Nat,
        id: nat.id.clone(),
    };
    diff.push(change, vec![delete, Action::Create(role)]);
    Ok(())
}

/// NAT that is no longer wanted. Instances may still need it.
pub(crate) fn leftovers(
    diff: &mut Diff<'_>,
    addresses: &[Found<AddressState>],
    nats: &[Found<NatState>],
) {
    if diff.desired.spec.nat == Nat::None {
        let stack = &diff.desired.spec.stack;
        diff.push_late(removals(stack, nats));
        diff.push_late(address_removals(stack, addresses));
    }
}

pub(crate) fn removals(stack: &str, there: &[Found<NatState>]) -> Vec<PlannedStep> {
    deletions(stack, there, "nat gateway", |_| Resource::Nat)
}

pub(crate) fn address_removals(stack: &str, there: &[Found<AddressState>]) -> Vec<PlannedStep> {
    deletions(stack, there, "elastic address", |_| Resource::Address)
}

pub(crate) async fn allocate_address(at: &Applier<'_>) -> Result<String, Error> {
    let tags = at.tags(ResourceType::ElasticIp, &Role::NatAddress)?;
    let call = at.ec2.allocate_address().domain(DomainType::Vpc);
    let answer = call.tag_specifications(tags).send().await;
    let id = answer.calling("AllocateAddress")?.allocation_id;
    required(id, "AllocateAddress", "the allocation's id")
}

pub(crate) async fn create(at: &Applier<'_>) -> Result<String, Error> {
    let zone = desired(at.desired()?)?.unwrap_or_default();
    let subnet = at.id(&Role::Subnet(Tier::Public, zone))?;
    let address = at.id(&Role::NatAddress)?;
    let tags = at.tags(ResourceType::Natgateway, &Role::NatGateway)?;
    let token = token();
    // A replaced gateway may hold the address a little longer.
    let held = |error: &CallError| error.code() == Some("Resource.AlreadyAssociated");
    let created = LETTING_GO.retry(
        |error| held(error) || error.is_not_found(),
        async || {
            let call = at.ec2.create_nat_gateway().subnet_id(subnet);
            let call = call.allocation_id(address).tag_specifications(tags.clone());
            let call = call.client_token(&token);
            call.send().await.calling("CreateNatGateway")
        },
    );
    let answer = created.await?;
    let id = answer.nat_gateway.and_then(|nat| nat.nat_gateway_id);
    required(id, "CreateNatGateway", "the gateway's id")
}

pub(crate) async fn await_available(at: &Applier<'_>, step: &Step<'_>) -> Result<(), Error> {
    let id = at.id(&Role::NatGateway)?;
    step.waiting(format!("{id} to be available"));
    let available = CHANGING
        .until(async || {
            let nat = look(at.ec2, id).await?;
            match nat.as_ref().and_then(|nat| nat.state.as_ref()) {
                Some(NatGatewayState::Available) => Ok(Some(())),
                Some(NatGatewayState::Failed) => Err(failed(id, nat)),
                _ => Ok(None),
            }
        })
        .await?;
    available.ok_or_else(|| too_slow(id, "available"))
}

/// Deletes a NAT gateway and waits until it is gone, as it holds its address and subnet until then.
pub(crate) async fn delete(ec2: &Client, id: &str, step: &Step<'_>) -> Result<(), Error> {
    let call = ec2.delete_nat_gateway().nat_gateway_id(id);
    match call.send().await.calling("DeleteNatGateway") {
        Err(error) if error.is_not_found() => return Ok(()),
        other => drop(other?),
    }
    step.waiting(format!("{id} to be gone"));
    let gone = CHANGING
        .until(async || {
            let state = look(ec2, id).await?.and_then(|nat| nat.state);
            let gone = state.is_none_or(|state| state == NatGatewayState::Deleted);
            Ok::<_, Error>(gone.then_some(()))
        })
        .await?;
    gone.ok_or_else(|| too_slow(id, "deleted"))
}

/// Releases an address. A deleted NAT gateway may hold it a little longer; EC2 answers
/// `AuthFailure` in that case.
pub(crate) async fn release_address(ec2: &Client, id: &str, step: &Step<'_>) -> Result<(), Error> {
    let held =
        |error: &Error| matches!(error, Error::Call(error) if error.code() == Some("AuthFailure"));
    LETTING_GO
        .retry(held, async || {
            released(step, async || {
                let call = ec2.release_address().allocation_id(id);
                call.send().await.calling("ReleaseAddress")
            })
            .await
        })
        .await
}

/// A NAT gateway as it is now; `None` if EC2 does not know it (any more, or yet).
async fn look(ec2: &Client, id: &str) -> Result<Option<NatGateway>, Error> {
    let call = ec2.describe_nat_gateways().nat_gateway_ids(id);
    match call.send().await.calling("DescribeNatGateways") {
        Err(error) if error.is_not_found() => Ok(None),
        answer => Ok(answer?.nat_gateways.unwrap_or_default().into_iter().next()),
    }
}

/// A failed NAT gateway, with the reason in EC2's words.
fn failed(id: &str, nat: Option<NatGateway>) -> Error {
    let why = nat.and_then(|nat| nat.failure_message);
    Error::NatFailed {
        id: id.to_owned(),
        why: why.unwrap_or_else(|| "EC2 does not say why".to_owned()),
    }
}

fn too_slow(id: &str, state: &'static str) -> Error {
    Error::TooSlow {
        what: format!("NAT gateway {id}"),
        state,
        seconds: CHANGING.limit.as_secs(),
    }
}
