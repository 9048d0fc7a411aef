//! Carries out a plan, call by call, and tells what happens.
//!
//! Every created resource gets its tags in the very call that creates it, so that whatever
//! a crash leaves behind is found by the next run.

mod create;
mod delete;
mod users;

pub use users::users;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_ec2::Client;
use onspot_reconcile::{CallError, EventSender, Patience, Step};

use crate::diff::{Action, Desired};
use crate::observed::network_of;
use crate::{Nat, NetplanError, Network, NetworkPlan, Role};

/// How long a new resource may stay unknown to other calls: EC2 is eventually consistent.
const SETTLING: Patience = Patience::new(Duration::from_secs(1), Duration::from_mins(1));
/// How long the last users of a resource may take to let go of it.
const RELEASING: Patience = Patience::new(Duration::from_secs(3), Duration::from_mins(10));
/// How long a NAT gateway that is gone may still hold its address.
const LETTING_GO: Patience = Patience::new(Duration::from_secs(3), Duration::from_mins(2));
/// How long a NAT gateway may take to start or to end.
const NAT_CHANGING: Patience = Patience::new(Duration::from_secs(2), Duration::from_mins(10));

/// Makes what `plan` says. Run again after a failure or a crash, with a fresh plan, it goes
/// on from there.
pub async fn apply(
    ec2: &Client,
    plan: &NetworkPlan,
    events: &EventSender,
) -> Result<Network, NetplanError> {
    let mut ids = run(ec2, plan, events).await?;
    if let Some(desired) = &plan.desired {
        // Zones that are left over may still be there; nothing new shall go into them.
        ids.retain(|role, _| match role {
            Role::Subnet(_, zone) => desired.addresses.zones.contains_key(zone),
            _ => true,
        });
    }
    network_of(
        &ids,
        plan.desired
            .as_ref()
            .map_or(Nat::None, |desired| desired.spec.nat),
    )
}

/// Removes what a [`teardown`](crate::teardown) plan says.
pub async fn destroy(
    ec2: &Client,
    plan: &NetworkPlan,
    events: &EventSender,
) -> Result<(), NetplanError> {
    run(ec2, plan, events).await.map(drop)
}

async fn run(
    ec2: &Client,
    plan: &NetworkPlan,
    events: &EventSender,
) -> Result<BTreeMap<Role, String>, NetplanError> {
    let mut applier = Applier {
        ec2,
        desired: plan.desired.as_ref(),
        ids: plan.ids.clone(),
    };
    for planned in plan.steps.iter().filter(|step| !step.actions.is_empty()) {
        let change = &planned.change;
        let what = format!("{} {} {}", change.kind, change.resource, change.name);
        let step = Step::start(events, what);
        let mut made = change.id.clone();
        for action in &planned.actions {
            match applier.act(action, &step).await {
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

struct Applier<'a> {
    ec2: &'a Client,
    desired: Option<&'a Desired>,
    ids: BTreeMap<Role, String>,
}

impl Applier<'_> {
    /// Does one action; returns the id of what it created.
    async fn act(
        &mut self,
        action: &Action,
        step: &Step<'_>,
    ) -> Result<Option<String>, NetplanError> {
        let created = match action {
            Action::CreateVpc { range } => (Role::Vpc, self.create_vpc(*range).await?),
            Action::CreateGateway => (Role::InternetGateway, self.create_gateway().await?),
            Action::CreateSubnet { tier, zone, range } => {
                let role = Role::Subnet(*tier, zone.clone());
                let id = self.create_subnet(&role, zone, *range).await?;
                (role, id)
            }
            Action::AllocateAddress => (Role::NatAddress, self.allocate_address().await?),
            Action::CreateNat { zone } => (Role::NatGateway, self.create_nat(zone).await?),
            Action::CreateRoutes { tier } => {
                (Role::Routes(*tier), self.create_routes(*tier).await?)
            }
            Action::CreateEndpoint => (Role::S3Endpoint, self.create_endpoint().await?),
            Action::CreateGroup { member } => (
                Role::SecurityGroup(*member),
                self.create_group(*member).await?,
            ),
            other => {
                self.change(other, step).await?;
                return Ok(None);
            }
        };
        let (role, id) = created;
        self.ids.insert(role, id.clone());
        Ok(Some(id))
    }

    /// Does an action that creates nothing.
    async fn change(&mut self, action: &Action, step: &Step<'_>) -> Result<(), NetplanError> {
        match action {
            Action::EnableDns => self.enable_dns().await,
            Action::AttachGateway => self.attach_gateway().await,
            Action::GivePublicAddresses { zone } => self.give_public_addresses(zone).await,
            Action::AwaitNat => self.await_nat(step).await,
            Action::SetDefaultRoute { tier, via, replace } => {
                self.set_default_route(*tier, via, *replace).await
            }
            Action::RemoveDefaultRoute { tier } => self.remove_default_route(*tier).await,
            Action::UseRoutes { tier, zone } => self.use_routes(*tier, zone).await,
            Action::LinkEndpoint { tiers } => self.link_endpoint(tiers).await,
            Action::CloseInbound { member } => self.close_inbound(*member).await,
            Action::OpenOutbound { member } => self.open_outbound(*member).await,
            Action::OpenPort { port } => self.open_port(*port).await,
            Action::Delete { resource, id } => {
                self.delete(resource, id, step).await?;
                self.ids.retain(|_, known| known != id);
                Ok(())
            }
            // The creating ones are `act`'s.
            _ => Ok(()),
        }
    }

    /// The id of a part that exists by now.
    fn id(&self, role: &Role) -> Result<&str, NetplanError> {
        let id = self.ids.get(role).map(String::as_str);
        id.ok_or_else(|| NetplanError::Missing {
            role: role.to_string(),
        })
    }

    /// What is wanted; a plan that creates something always has it.
    fn desired(&self) -> Result<&Desired, NetplanError> {
        self.desired.ok_or_else(|| NetplanError::Missing {
            role: "specification".to_owned(),
        })
    }
}

/// Calls until EC2 knows what the call refers to.
async fn settled<T, F>(call: impl FnMut() -> F) -> Result<T, NetplanError>
where
    F: Future<Output = Result<T, CallError>>,
{
    Ok(SETTLING.retry(CallError::is_not_found, call).await?)
}

/// The id that every answer to `operation` has.
fn required(
    id: Option<String>,
    operation: &'static str,
    what: &'static str,
) -> Result<String, NetplanError> {
    id.ok_or(NetplanError::Incomplete { operation, what })
}
