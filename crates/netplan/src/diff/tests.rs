//! The diff against a model of EC2: a crash after any call, and the next run goes on.

use proptest::prelude::*;

use super::*;
use crate::observed::{
    AddressState, EndpointState, Found, GatewayState, GroupState, InboundRule, NatState,
    RoutesState, SubnetState, VpcState,
};
use crate::{Nat, Observed};

mod inbound;

/// EC2 as far as the plan's calls go.
#[derive(Debug, Clone, Default)]
struct Cloud {
    observed: Observed,
    count: u32,
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

    fn id(&self, role: &Role) -> String {
        self.observed
            .by_role()
            .remove(role)
            .unwrap_or_else(|| panic!("there is no {role}"))
    }

    fn table(&mut self, tier: Tier) -> &mut RoutesState {
        let role = Some(Role::Routes(tier));
        let table = self
            .observed
            .routes
            .iter_mut()
            .find(|table| table.role == role);
        &mut table.expect("the table is made before it is changed").state
    }

    /// Makes the first `calls` calls of `plan`; returns how many there were.
    fn run(&mut self, plan: &NetworkPlan, calls: usize) -> usize {
        let actions: Vec<&Action> = plan.steps.iter().flat_map(|step| &step.actions).collect();
        for action in actions.iter().take(calls) {
            self.call(action);
        }
        actions.len()
    }

    fn call(&mut self, action: &Action) {
        match action.clone() {
            Action::CreateVpc { range } => {
                let (cidr, dns_support) = (range.to_string(), true);
                let state = VpcState {
                    cidr,
                    dns_support,
                    dns_hostnames: false,
                };
                let vpc = self.found(Role::Vpc, state);
                self.observed.vpcs.push(vpc);
            }
            Action::EnableDns => self.observed.vpcs[0].state.dns_hostnames = true,
            Action::CreateGateway => {
                let state = GatewayState {
                    attached_to: Vec::new(),
                };
                let gateway = self.found(Role::InternetGateway, state);
                self.observed.gateways.push(gateway);
            }
            Action::AttachGateway => {
                let vpc = self.id(&Role::Vpc);
                self.observed.gateways[0].state.attached_to.push(vpc);
            }
            Action::CreateSubnet { tier, zone, range } => {
                let (cidr, public_addresses) = (range.to_string(), false);
                let state = SubnetState {
                    zone: zone.clone(),
                    cidr,
                    public_addresses,
                };
                let subnet = self.found(Role::Subnet(tier, zone), state);
                self.observed.subnets.push(subnet);
            }
            Action::GivePublicAddresses { zone } => {
                let role = Some(Role::Subnet(Tier::Public, zone));
                let subnets = &mut self.observed.subnets;
                let subnet = subnets.iter_mut().find(|subnet| subnet.role == role);
                subnet
                    .expect("the subnet is made before")
                    .state
                    .public_addresses = true;
            }
            Action::AllocateAddress => {
                let state = AddressState {
                    public_ip: "192.0.2.1".to_owned(),
                };
                let address = self.found(Role::NatAddress, state);
                self.observed.addresses.push(address);
            }
            Action::CreateNat { zone } => {
                self.id(&Role::NatAddress);
                let subnet = self.id(&Role::Subnet(Tier::Public, zone));
                let nat = self.found(
                    Role::NatGateway,
                    NatState {
                        subnet,
                        available: false,
                    },
                );
                self.observed.nats.push(nat);
            }
            Action::AwaitNat => self.observed.nats[0].state.available = true,
            Action::CreateRoutes { tier } => {
                let state = RoutesState {
                    subnets: BTreeMap::new(),
                    default_target: None,
                    default_works: false,
                };
                let table = self.found(Role::Routes(tier), state);
                self.observed.routes.push(table);
            }
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
            Action::CreateEndpoint => {
                let tables = [Tier::Public, Tier::Private].map(|tier| self.id(&Role::Routes(tier)));
                let state = EndpointState {
                    route_tables: tables.into(),
                };
                let endpoint = self.found(Role::S3Endpoint, state);
                self.observed.endpoints.push(endpoint);
            }
            Action::LinkEndpoint { tiers } => {
                let tables: Vec<_> = tiers
                    .into_iter()
                    .map(|tier| self.id(&Role::Routes(tier)))
                    .collect();
                self.observed.endpoints[0].state.route_tables.extend(tables);
            }
            Action::CreateGroup { member } => {
                let state = GroupState {
                    inbound: Vec::new(),
                    outbound: true,
                };
                let group = self.found(Role::SecurityGroup(member), state);
                self.observed.groups.push(group);
            }
            Action::CloseInbound { member } => self.group(member).inbound.clear(),
            Action::OpenPort { port } => {
                let from = self.id(&Role::SecurityGroup(Member::Worker));
                let rule = InboundRule::Port { port, from };
                self.group(Member::Manager).inbound.push(rule);
            }
            Action::OpenOutbound { member } => self.group(member).outbound = true,
            Action::Delete { id, .. } => self.delete(&id),
        }
    }

    fn group(&mut self, member: Member) -> &mut GroupState {
        let role = Some(Role::SecurityGroup(member));
        let group = self
            .observed
            .groups
            .iter_mut()
            .find(|group| group.role == role);
        &mut group.expect("the group is made before it is changed").state
    }

    /// Deletes, and refuses what EC2 would: something that is still used.
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

fn spec(zones: &[&str], nat: Nat) -> Desired {
    let zones = zones.iter().map(|letter| format!("eu-west-1{letter}"));
    desired(&NetworkSpec {
        nat,
        ..NetworkSpec::new("ci", "eu-west-1", zones)
    })
    .unwrap()
}

/// The same, and workers reach managers at `port`.
fn with_port(wish: Desired, manager_port: Option<u16>) -> Desired {
    let spec = NetworkSpec {
        manager_port,
        ..wish.spec
    };
    Desired { spec, ..wish }
}

fn any_spec() -> impl Strategy<Value = Desired> {
    let zones = prop::sample::subsequence(vec!["a", "b", "c"], 1..=3).prop_shuffle();
    let nat = prop_oneof![Just(Nat::Gateway), Just(Nat::None)];
    let port = prop_oneof![Just(None), Just(Some(5000)), Just(Some(5001))];
    (zones, nat, port).prop_map(|(zones, nat, port)| with_port(spec(&zones, nat), port))
}

proptest! {
    /// Each run gets another wish, and crashes after some calls; the last one does not.
    #[test]
    fn any_crash_is_gone_on_from(
        wishes in prop::collection::vec((any_spec(), 0_usize..40), 0..4),
        last in any_spec(),
    ) {
        let mut cloud = Cloud::default();
        for (wish, calls) in &wishes {
            let plan = diff(wish, &cloud.observed).unwrap();
            cloud.run(&plan, *calls);
        }
        let plan = diff(&last, &cloud.observed).unwrap();
        cloud.run(&plan, usize::MAX);
        let again = diff(&last, &cloud.observed).unwrap();
        prop_assert!(again.is_empty(), "left to do: {}", again.plan());
        prop_assert!(cloud.observed.network().is_some());
    }

    /// Whatever a crash leaves is removed, also when the removal crashes.
    #[test]
    fn teardown_leaves_nothing(wish in any_spec(), calls in 0_usize..40, removed in 0_usize..12) {
        let mut cloud = Cloud::default();
        let plan = diff(&wish, &cloud.observed).unwrap();
        cloud.run(&plan, calls);
        let plan = teardown(&cloud.observed);
        cloud.run(&plan, removed);
        let plan = teardown(&cloud.observed);
        cloud.run(&plan, usize::MAX);
        prop_assert!(cloud.observed.is_empty(), "left: {:?}", cloud.observed);
    }
}

fn built(wish: &Desired) -> Cloud {
    let mut cloud = Cloud::default();
    let plan = diff(wish, &cloud.observed).unwrap();
    cloud.run(&plan, usize::MAX);
    cloud
}

#[test]
fn people_see_what_a_new_network_will_be() {
    let plan = diff(&spec(&["a", "b"], Nat::Gateway), &Observed::default()).unwrap();
    insta::assert_snapshot!(plan.plan());
}

#[test]
fn people_see_what_will_go() {
    let cloud = built(&spec(&["a"], Nat::Gateway));
    insta::assert_snapshot!(teardown(&cloud.observed).plan());
}

#[test]
fn a_zone_more_leaves_the_rest_alone() {
    let cloud = built(&spec(&["b"], Nat::Gateway));
    let plan = diff(&spec(&["b", "a"], Nat::Gateway), &cloud.observed).unwrap();
    insta::assert_snapshot!(plan.plan());
}

#[test]
fn what_instances_may_still_use_goes_last() {
    let mut cloud = built(&spec(&["a", "b"], Nat::Gateway));
    let (now, later) = diff(&spec(&["a"], Nat::None), &cloud.observed)
        .unwrap()
        .split();
    assert!(now.is_empty(), "nothing goes at once: {}", now.plan());
    insta::assert_snapshot!(later.plan());
    cloud.run(&later, usize::MAX);
    assert_eq!(cloud.observed.subnets.len(), 2);
    assert!(cloud.observed.nats.is_empty());
    let again = diff(&spec(&["a"], Nat::None), &cloud.observed).unwrap();
    assert!(again.is_empty(), "left to do: {}", again.plan());
}

#[test]
fn an_opened_security_group_is_closed_again() {
    let wish = spec(&["a"], Nat::None);
    let mut cloud = built(&wish);
    cloud.group(Member::Worker).inbound = vec![InboundRule::Other; 2];
    cloud.group(Member::Manager).outbound = false;
    let plan = diff(&wish, &cloud.observed).unwrap();
    assert_eq!(plan.plan().acting().count(), 2);
    cloud.run(&plan, usize::MAX);
    assert!(diff(&wish, &cloud.observed).unwrap().is_empty());
}

#[test]
fn another_range_is_refused() {
    let wish = spec(&["a"], Nat::None);
    let cloud = built(&wish);
    let other = NetworkSpec {
        cidr: "10.1.0.0/16".parse().unwrap(),
        ..wish.spec
    };
    let error = diff(&desired(&other).unwrap(), &cloud.observed).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the network exists as 10.0.0.0/16, and cannot become 10.1.0.0/16"
    );
    assert!(error.hint().unwrap().contains("keep 10.0.0.0/16"));
}

#[test]
fn two_of_the_same_are_named_and_not_guessed() {
    let wish = spec(&["a"], Nat::None);
    let mut cloud = built(&wish);
    let twin = Found {
        id: "vpc-twin".to_owned(),
        ..cloud.observed.vpcs[0].clone()
    };
    cloud.observed.vpcs.push(twin);
    let error = diff(&wish, &cloud.observed).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are several vpc in stack ci: id-1, vpc-twin"
    );
}

#[test]
fn two_networks_of_one_stack_are_both_removed() {
    let wish = spec(&["a", "b"], Nat::Gateway);
    let mut cloud = built(&wish);
    // Another `up` saw nothing there and has made everything as well.
    let plan = diff(&wish, &Observed::default()).unwrap();
    let mut other = Cloud {
        count: 100,
        ..Cloud::default()
    };
    other.run(&plan, usize::MAX);
    let (ours, theirs) = (&mut cloud.observed, other.observed);
    ours.vpcs.extend(theirs.vpcs);
    ours.gateways.extend(theirs.gateways);
    ours.subnets.extend(theirs.subnets);
    ours.nats.extend(theirs.nats);
    ours.addresses.extend(theirs.addresses);
    ours.routes.extend(theirs.routes);
    ours.endpoints.extend(theirs.endpoints);
    ours.groups.extend(theirs.groups);
    let error = diff(&wish, &cloud.observed).unwrap_err();
    assert!(
        error
            .hint()
            .unwrap()
            .contains("`onspot down` removes all of them")
    );
    cloud.run(&teardown(&cloud.observed), usize::MAX);
    assert!(cloud.observed.is_empty(), "left: {:?}", cloud.observed);
}

#[test]
fn a_stack_in_one_zone_comes_into_three_and_moves_nothing() {
    let mut cloud = built(&spec(&["b"], Nat::Gateway));
    let before = cloud.observed.clone();
    let wish = spec(&["a", "b", "c"], Nat::Gateway);
    let plan = diff(&wish, &cloud.observed).unwrap();
    let summary = plan.plan().summary();
    assert_eq!((summary.create, summary.delete), (4, 0), "{}", plan.plan());
    cloud.run(&plan, usize::MAX);
    let now = &cloud.observed;
    assert_eq!(
        (&now.nats, &now.addresses),
        (&before.nats, &before.addresses)
    );
    assert!(
        before
            .subnets
            .iter()
            .all(|subnet| now.subnets.contains(subnet))
    );
    let network = now.network().unwrap();
    assert_eq!(network.instance_subnets().len(), 3);
    let private = now
        .routes
        .iter()
        .find(|t| t.role == Some(Role::Routes(Tier::Private)));
    assert_eq!(
        private.unwrap().state.subnets.len(),
        3,
        "all reach the one NAT gateway"
    );
    assert!(diff(&wish, now).unwrap().is_empty());
}

#[test]
fn instances_go_where_they_reach_the_internet() {
    let zone = |nat| {
        let network = built(&spec(&["a"], nat)).observed.network().unwrap();
        (network.instance_subnets().to_vec(), network)
    };
    let (subnets, network) = zone(Nat::Gateway);
    assert_eq!(subnets, network.private_subnets);
    let (subnets, network) = zone(Nat::None);
    assert_eq!(subnets, network.public_subnets);
}
