//! What is missing or not as wanted.

use onspot_reconcile::Change;

use super::{Action, Desired, NetworkPlan, PlannedStep, Resource};
use crate::observed::{Found, InboundRule, RoutesState};
use crate::{Member, Nat, NetplanError, Observed, Role, Tier};

/// What has to be done to get from `observed` to `desired`, in order.
pub fn diff(desired: &Desired, observed: &Observed) -> Result<NetworkPlan, NetplanError> {
    let mut diff = Diff {
        desired,
        observed,
        steps: Vec::new(),
    };
    diff.vpc()?;
    diff.gateway()?;
    for zone in desired.addresses.zones.keys() {
        diff.subnet(Tier::Public, zone)?;
        diff.subnet(Tier::Private, zone)?;
    }
    diff.routes(Tier::Public, Some((Role::InternetGateway, false)))?;
    let nat_is_new = diff.nat()?;
    diff.groups()?;
    // Last of what is made, as it waits for the NAT gateway.
    let via = (desired.spec.nat == Nat::Gateway).then_some((Role::NatGateway, nat_is_new));
    diff.routes(Tier::Private, via)?;
    diff.endpoint()?;
    diff.leftovers();
    Ok(NetworkPlan {
        stack: desired.spec.stack.clone(),
        desired: Some(desired.clone()),
        ids: observed.by_role(),
        steps: diff.steps,
    })
}

/// The comparison in the making.
pub(super) struct Diff<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) steps: Vec<PlannedStep>,
}

impl Diff<'_> {
    fn vpc(&mut self) -> Result<(), NetplanError> {
        let range = self.desired.spec.cidr;
        let Some(vpc) = self.one(&self.observed.vpcs, &Role::Vpc)? else {
            let change = self.create(&Role::Vpc).setting("cidr", range.to_string());
            self.push(change, vec![Action::CreateVpc { range }, Action::EnableDns]);
            return Ok(());
        };
        if vpc.state.cidr != range.to_string() {
            let existing = vpc.state.cidr.clone();
            return Err(NetplanError::RangeChanged {
                existing,
                wanted: range,
            });
        }
        let mut fix = Fix::new();
        if !(vpc.state.dns_support && vpc.state.dns_hostnames) {
            fix.add("dns", "off", "on", Action::EnableDns);
        }
        self.keep_or_update(&Role::Vpc, &vpc.id, fix);
        Ok(())
    }

    fn gateway(&mut self) -> Result<(), NetplanError> {
        let role = Role::InternetGateway;
        let Some(gateway) = self.one(&self.observed.gateways, &role)? else {
            let change = self.create(&role);
            self.push(change, vec![Action::CreateGateway, Action::AttachGateway]);
            return Ok(());
        };
        let mut fix = Fix::new();
        if gateway.state.attached_to.is_empty() {
            fix.add("attached to", "nothing", "vpc", Action::AttachGateway);
        }
        self.keep_or_update(&role, &gateway.id, fix);
        Ok(())
    }

    fn subnet(&mut self, tier: Tier, zone: &str) -> Result<(), NetplanError> {
        let role = Role::Subnet(tier, zone.to_owned());
        let give = Action::GivePublicAddresses {
            zone: zone.to_owned(),
        };
        let Some(subnet) = self.one(&self.observed.subnets, &role)? else {
            let Some(range) = self.desired.addresses.range(tier, zone) else {
                return Ok(());
            };
            let change = self
                .create(&role)
                .setting("zone", zone)
                .setting("cidr", range.to_string());
            let create = Action::CreateSubnet {
                tier,
                zone: zone.to_owned(),
                range,
            };
            let actions = match tier {
                Tier::Public => vec![create, give],
                Tier::Private => vec![create],
            };
            self.push(change, actions);
            return Ok(());
        };
        let mut fix = Fix::new();
        if tier == Tier::Public && !subnet.state.public_addresses {
            fix.add("public addresses", "off", "on", give);
        }
        self.keep_or_update(&role, &subnet.id, fix);
        Ok(())
    }

    /// Returns whether the NAT gateway will be another than now.
    fn nat(&mut self) -> Result<bool, NetplanError> {
        if self.desired.spec.nat == Nat::None {
            return Ok(false);
        }
        let address = self.one(&self.observed.addresses, &Role::NatAddress)?;
        let nat = self.one(&self.observed.nats, &Role::NatGateway)?;
        match address {
            Some(address) => self.keep_or_update(&Role::NatAddress, &address.id, Fix::new()),
            None if nat.is_none() => {
                let change = self.create(&Role::NatAddress);
                self.push(change, vec![Action::AllocateAddress]);
            }
            None => {}
        }
        let zone = self
            .desired
            .spec
            .zones
            .first()
            .cloned()
            .ok_or(NetplanError::NoZone)?;
        let create = Action::CreateNat { zone: zone.clone() };
        let Some(nat) = nat else {
            let change = self.create(&Role::NatGateway).setting("zone", zone);
            self.push(change, vec![create]);
            return Ok(true);
        };
        let ids = self.observed.by_role();
        let stays = self.desired.addresses.zones.keys().any(|zone| {
            ids.get(&Role::Subnet(Tier::Public, zone.clone())) == Some(&nat.state.subnet)
        });
        if stays {
            self.keep_or_update(&Role::NatGateway, &nat.id, Fix::new());
        } else {
            let change = Change::replace(Role::NatGateway.resource(), self.name(&Role::NatGateway))
                .with_id(&nat.id)
                .setting("zone", zone);
            let delete = Action::Delete {
                resource: Resource::Nat,
                id: nat.id.clone(),
            };
            self.push(change, vec![delete, create]);
        }
        Ok(!stays)
    }

    /// A tier's route table; `via` is the role that everything goes to by default, and
    /// whether that will be another than now.
    fn routes(&mut self, tier: Tier, via: Option<(Role, bool)>) -> Result<(), NetplanError> {
        let role = Role::Routes(tier);
        let zones = self.desired.addresses.zones.keys().cloned();
        let Some(table) = self.one(&self.observed.routes, &role)? else {
            let mut change = self.create(&role);
            let mut actions = vec![Action::CreateRoutes { tier }];
            if let Some((via, _)) = via {
                change = change.setting("default route", via.resource());
                actions.extend(await_target(&via));
                actions.push(Action::SetDefaultRoute {
                    tier,
                    via,
                    replace: false,
                });
            }
            actions.extend(zones.map(|zone| Action::UseRoutes { tier, zone }));
            self.push(change, actions);
            return Ok(());
        };
        let mut fix = Fix::new();
        self.default_route(&mut fix, table, tier, via);
        for zone in zones {
            let subnet = self
                .observed
                .by_role()
                .remove(&Role::Subnet(tier, zone.clone()));
            if !subnet.is_some_and(|id| table.state.subnets.contains_key(&id)) {
                let wanted = format!("{tier}-{zone}");
                fix.add(
                    "subnet",
                    "(none)",
                    &wanted,
                    Action::UseRoutes { tier, zone },
                );
            }
        }
        self.keep_or_update(&role, &table.id, fix);
        Ok(())
    }

    fn default_route(
        &self,
        fix: &mut Fix,
        table: &Found<RoutesState>,
        tier: Tier,
        via: Option<(Role, bool)>,
    ) {
        let RoutesState {
            default_target,
            default_works,
            ..
        } = &table.state;
        let old = default_target.as_deref().unwrap_or("(none)");
        let Some((via, is_new)) = via else {
            // One that is no longer wanted goes with the leftovers.
            return;
        };
        let target = self.observed.by_role().remove(&via);
        let right = default_target.is_some() && *default_target == target;
        if right && *default_works && !is_new {
            return;
        }
        fix.actions.extend(await_target(&via));
        let replace = default_target.is_some();
        let new = via.resource();
        fix.add(
            "default route",
            old,
            new,
            Action::SetDefaultRoute { tier, via, replace },
        );
    }

    fn endpoint(&mut self) -> Result<(), NetplanError> {
        let role = Role::S3Endpoint;
        let Some(endpoint) = self.one(&self.observed.endpoints, &role)? else {
            let change = self.create(&role).setting("service", "s3");
            self.push(change, vec![Action::CreateEndpoint]);
            return Ok(());
        };
        let ids = self.observed.by_role();
        let linked = |tier: &Tier| {
            let table = ids.get(&Role::Routes(*tier));
            table.is_some_and(|id| endpoint.state.route_tables.contains(id))
        };
        let mut tiers = vec![Tier::Public, Tier::Private];
        tiers.retain(|tier| !linked(tier));
        let mut fix = Fix::new();
        if !tiers.is_empty() {
            let missing = tiers.iter().map(|tier| format!("{tier}-routes"));
            let missing = missing.collect::<Vec<_>>().join(", ");
            fix.add(
                "route tables",
                "(none)",
                &missing,
                Action::LinkEndpoint { tiers },
            );
        }
        self.keep_or_update(&role, &endpoint.id, fix);
        Ok(())
    }

    fn groups(&mut self) -> Result<(), NetplanError> {
        // The managers' last: it may name the workers'.
        for member in [Member::Worker, Member::Manager] {
            let role = Role::SecurityGroup(member);
            let port = match member {
                Member::Manager => self.desired.spec.manager_port,
                Member::Worker => None,
            };
            let wanted = port.map_or("none".to_owned(), |port| {
                format!("port {port} from workers")
            });
            let Some(group) = self.one(&self.observed.groups, &role)? else {
                let change = self.create(&role).setting("inbound", wanted);
                let open = port.map(|port| Action::OpenPort { port });
                let actions = std::iter::once(Action::CreateGroup { member }).chain(open);
                self.push(change, actions.collect());
                continue;
            };
            let mut fix = Fix::new();
            self.inbound(&mut fix, &group.state.inbound, member, port, &wanted);
            if !group.state.outbound {
                fix.add(
                    "outbound",
                    "restricted",
                    "all",
                    Action::OpenOutbound { member },
                );
            }
            self.keep_or_update(&role, &group.id, fix);
        }
        Ok(())
    }

    /// Rules that are not just the wanted ones are closed, all of them, and the wanted opened.
    fn inbound(
        &self,
        fix: &mut Fix,
        rules: &[InboundRule],
        member: Member,
        port: Option<u16>,
        wanted: &str,
    ) {
        let workers = Role::SecurityGroup(Member::Worker);
        let right = match (rules, port) {
            ([], None) => true,
            ([InboundRule::Port { port: open, from }], Some(port)) => {
                *open == port && self.observed.by_role().get(&workers) == Some(from)
            }
            _ => false,
        };
        if right {
            return;
        }
        let old = match rules.len() {
            0 => "none".to_owned(),
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        };
        fix.details.push(("inbound", old, wanted.to_owned()));
        if !rules.is_empty() {
            fix.actions.push(Action::CloseInbound { member });
        }
        fix.actions
            .extend(port.map(|port| Action::OpenPort { port }));
    }

    /// The one resource with this role.
    fn one<'b, T>(
        &self,
        all: &'b [Found<T>],
        role: &Role,
    ) -> Result<Option<&'b Found<T>>, NetplanError> {
        let mut with_role = all.iter().filter(|found| found.role.as_ref() == Some(role));
        let (first, second) = (with_role.next(), with_role.next());
        if second.is_none() {
            return Ok(first);
        }
        let claiming = all.iter().filter(|found| found.role.as_ref() == Some(role));
        Err(NetplanError::Ambiguous {
            stack: self.desired.spec.stack.clone(),
            role: role.to_string(),
            ids: claiming.map(|found| found.id.clone()).collect(),
        })
    }

    fn name(&self, role: &Role) -> String {
        role.name(&self.desired.spec.stack)
    }

    fn create(&self, role: &Role) -> Change {
        Change::create(role.resource(), self.name(role))
    }

    fn keep_or_update(&mut self, role: &Role, id: &str, fix: Fix) {
        let (resource, name) = (role.resource(), self.name(role));
        let mut change = if fix.actions.is_empty() {
            Change::keep(resource, name)
        } else {
            Change::update(resource, name)
        };
        for (field, old, new) in fix.details {
            change = change.changing(field, old, new);
        }
        self.push(change.with_id(id), fix.actions);
    }

    fn push(&mut self, change: Change, actions: Vec<Action>) {
        self.steps.push(PlannedStep {
            change,
            actions,
            late: false,
        });
    }
}

/// What is wrong with a resource, and the calls that mend it.
struct Fix {
    details: Vec<(&'static str, String, String)>,
    actions: Vec<Action>,
}

impl Fix {
    fn new() -> Self {
        Self {
            details: Vec::new(),
            actions: Vec::new(),
        }
    }

    fn add(&mut self, field: &'static str, old: &str, new: &str, action: Action) {
        self.details.push((field, old.to_owned(), new.to_owned()));
        self.actions.push(action);
    }
}

/// A NAT gateway can be a route's target only once it works.
fn await_target(via: &Role) -> Option<Action> {
    (*via == Role::NatGateway).then_some(Action::AwaitNat)
}
