//! A model of EC2 that plans are carried out on.

use std::collections::BTreeMap;

use crate::plan::{Action, NetworkPlan};
use crate::spec::Desired;
use crate::{
    AddressState, EndpointState, Found, GatewayState, GroupState, InboundRule, Member, NatState,
    Observed, Role, RoutesState, SubnetState, Tier, VpcState,
};

/// The part of EC2 that the plan's calls touch.
#[derive(Debug, Clone, Default)]
pub(super) struct Cloud {
    pub(super) observed: Observed,
    pub(super) count: u32,
}

impl Cloud {
    fn new_id(&mut self) -> String {
        self.count += 1;
        format!("id-{}", self.count)
    }

    fn found<T>(&mut self, role: Role, state: T) -> Found<T> {
        Found {
            id: self.new_id(),
            role: Some(role),
            state,
        }
    }

    pub(super) fn id(&self, role: &Role) -> String {
        self.observed
            .by_role()
            .remove(role)
            .unwrap_or_else(|| panic!("there is no {role}"))
    }

    fn table(&mut self, tier: Tier) -> &mut RoutesState {
        state(&mut self.observed.routes, Role::Routes(tier))
    }

    /// Makes the first `calls` calls of `plan`; returns how many there were.
    pub(super) fn run(&mut self, plan: &NetworkPlan, calls: usize) -> usize {
        let actions: Vec<&Action> = plan.steps.iter().flat_map(|step| &step.actions).collect();
        for action in actions.iter().take(calls) {
            match action {
                Action::Create(role) => {
                    let desired = plan.desired.as_ref().expect("something is wanted");
                    self.create(desired, role.clone());
                }
                Action::Delete { id, .. } => self.delete(id),
                other => self.mend((*other).clone()),
            }
        }
        actions.len()
    }

    fn create(&mut self, desired: &Desired, role: Role) {
        match &role {
            Role::Vpc => {
                let state = VpcState {
                    cidr: desired.spec.cidr.to_string(),
                    dns_support: true,
                    dns_hostnames: false,
                };
                let vpc = self.found(role, state);
                self.observed.vpcs.push(vpc);
            }
            Role::InternetGateway => {
                let attached_to = Vec::new();
                let gateway = self.found(role, GatewayState { attached_to });
                self.observed.gateways.push(gateway);
            }
            Role::Subnet(tier, zone) => {
                let range = desired.addresses.range(*tier, zone);
                let state = SubnetState {
                    zone: zone.clone(),
                    cidr: range.expect("the zone is wanted").to_string(),
                    public_addresses: false,
                };
                let subnet = self.found(role, state);
                self.observed.subnets.push(subnet);
            }
            Role::NatAddress => {
                let public_ip = "192.0.2.1".to_owned();
                let address = self.found(role, AddressState { public_ip });
                self.observed.addresses.push(address);
            }
            Role::NatGateway => {
                self.id(&Role::NatAddress);
                let zone = desired.spec.zones[0].clone();
                let state = NatState {
                    subnet: self.id(&Role::Subnet(Tier::Public, zone)),
                    available: false,
                };
                let nat = self.found(role, state);
                self.observed.nats.push(nat);
            }
            Role::Routes(_) => {
                let state = RoutesState {
                    subnets: BTreeMap::new(),
                    default_target: None,
                    default_works: false,
                };
                let table = self.found(role, state);
                self.observed.routes.push(table);
            }
            Role::Endpoint(_) => {
                let tables = [Tier::Public, Tier::Private].map(|tier| self.id(&Role::Routes(tier)));
                let route_tables = tables.into();
                let endpoint = self.found(role, EndpointState { route_tables });
                self.observed.endpoints.push(endpoint);
            }
            Role::SecurityGroup(_) => {
                let state = GroupState {
                    inbound: Vec::new(),
                    outbound: true,
                };
                let group = self.found(role, state);
                self.observed.groups.push(group);
            }
        }
    }

    fn mend(&mut self, action: Action) {
        match action {
            Action::EnableDns => self.observed.vpcs[0].state.dns_hostnames = true,
            Action::AttachGateway => {
                let vpc = self.id(&Role::Vpc);
                self.observed.gateways[0].state.attached_to.push(vpc);
            }
            Action::GivePublicAddresses { zone } => {
                let role = Role::Subnet(Tier::Public, zone);
                state(&mut self.observed.subnets, role).public_addresses = true;
            }
            Action::AwaitNat => self.observed.nats[0].state.available = true,
            Action::SetDefaultRoute { tier, via, replace } => {
                let target = self.id(&via);
                if via == Role::NatGateway {
                    assert!(
                        self.observed.nats[0].state.available,
                        "EC2 refuses such a route"
                    );
                }
                let table = self.table(tier);
                assert_eq!(table.default_target.is_some(), replace);
                (table.default_target, table.default_works) = (Some(target), true);
            }
            Action::RemoveDefaultRoute { tier } => self.table(tier).default_target = None,
            Action::UseRoutes { tier, zone } => {
                let (subnet, link) = (self.id(&Role::Subnet(tier, zone)), self.new_id());
                self.table(tier).subnets.insert(subnet, link);
            }
            Action::LinkEndpoint { service, tiers } => {
                let tables = tiers.into_iter().map(|tier| self.id(&Role::Routes(tier)));
                let tables: Vec<_> = tables.collect();
                let endpoint = state(&mut self.observed.endpoints, Role::Endpoint(service));
                endpoint.route_tables.extend(tables);
            }
            Action::CloseInbound { member } => self.group(member).inbound.clear(),
            Action::OpenPort { port } => {
                let from = self.id(&Role::SecurityGroup(Member::Worker));
                let rule = InboundRule::Port { port, from };
                self.group(Member::Manager).inbound.push(rule);
            }
            Action::Tag { id, drift } => drop(self.observed.tags.insert(id, drift.after())),
            Action::OpenOutbound { member } => self.group(member).outbound = true,
            Action::Create(_) | Action::Delete { .. } => unreachable!("`run` does these"),
        }
    }

    /// Gives everything the tags that `desired` wants.
    pub(super) fn tag_all(&mut self, desired: &Desired) {
        let ids = self.observed.by_role().into_iter();
        self.observed.tags = ids.map(|(role, id)| (id, desired.tags(&role))).collect();
    }

    pub(super) fn group(&mut self, member: Member) -> &mut GroupState {
        state(&mut self.observed.groups, Role::SecurityGroup(member))
    }

    /// Deletes a resource, and like EC2 refuses to delete one that is still used.
    fn delete(&mut self, id: &str) {
        let now = &mut self.observed;
        let in_vpc = now.subnets.len() + now.routes.len() + now.endpoints.len() + now.groups.len();
        assert!(
            now.nats.iter().all(|nat| nat.state.subnet != id),
            "a NAT gateway is in it"
        );
        assert!(
            now.addresses.iter().all(|address| address.id != id) || now.nats.is_empty(),
            "a NAT gateway has it"
        );
        assert!(
            now.vpcs.iter().all(|vpc| vpc.id != id) || in_vpc + now.gateways.len() == 0,
            "the VPC is not empty"
        );
        let names =
            |rule: &InboundRule| matches!(rule, InboundRule::Port { from, .. } if from == id);
        assert!(
            !now.groups
                .iter()
                .any(|group| group.id != id && group.state.inbound.iter().any(names)),
            "another group's rule names it"
        );
        now.vpcs.retain(|found| found.id != id);
        now.gateways.retain(|found| found.id != id);
        now.subnets.retain(|found| found.id != id);
        now.nats.retain(|found| found.id != id);
        now.addresses.retain(|found| found.id != id);
        now.routes.retain(|found| found.id != id);
        now.endpoints.retain(|found| found.id != id);
        now.groups.retain(|found| found.id != id);
        for table in &mut now.routes {
            table.state.subnets.remove(id);
            if table.state.default_target.as_deref() == Some(id) {
                table.state.default_works = false;
            }
        }
    }
}

/// The state of the part with this role.
fn state<T>(found: &mut [Found<T>], role: Role) -> &mut T {
    let role = Some(role);
    let found = found.iter_mut().find(|found| found.role == role);
    &mut found.expect("a part is made before it is changed").state
}
