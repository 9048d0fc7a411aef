//! The diff against a model of EC2: a crash after any call, and the next run goes on.

use onspot_reconcile::Tags;
use proptest::prelude::*;

use super::cloud::Cloud;
use super::*;
use crate::{Found, InboundRule, Member, Nat, NetworkSpec, Role, desired};

fn spec(zones: &[&str], nat: Nat) -> Desired {
    let zones = zones.iter().map(|letter| format!("eu-west-1{letter}"));
    desired(&NetworkSpec {
        nat,
        ..NetworkSpec::new("ci", "eu-west-1", zones)
    })
    .unwrap()
}

/// The same network, in which workers reach managers at `manager_port`.
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

#[test]
fn other_tags_are_put_right_everywhere_and_nothing_is_made_anew() {
    let plain = spec(&["a"], Nat::Gateway);
    let tagged = |pairs: &[(&str, &str)]| {
        let tags: Tags = pairs.iter().copied().collect();
        let mut desired = plain.clone();
        desired.spec.tags = tags.noted();
        desired
    };
    let (one, two) = (
        tagged(&[("Team", "a"), ("Cost", "1")]),
        tagged(&[("Cost", "2")]),
    );
    let mut cloud = Cloud::default();
    cloud.run(&diff(&plain, &cloud.observed).unwrap(), usize::MAX);
    cloud.tag_all(&plain);
    let before = cloud.observed.by_role();
    for wanted in [&one, &two, &plain] {
        let plan = diff(wanted, &cloud.observed).unwrap();
        let summary = plan.plan().summary();
        assert_eq!(summary.update, before.len(), "{}", plan.plan());
        assert_eq!((summary.create, summary.replace, summary.delete), (0, 0, 0));
        cloud.run(&plan, usize::MAX);
        assert!(diff(wanted, &cloud.observed).unwrap().is_empty());
    }
    assert_eq!(cloud.observed.by_role(), before);
    let left = cloud.observed.tags.values();
    let mut left = left.flat_map(|tags| tags.iter().map(|(key, _)| key.to_owned()));
    assert!(
        left.all(
            |key| key.starts_with("onspot:") && key != onspot_reconcile::NOTES || key == "Name"
        )
    );
}

proptest! {
    /// Each run has another desired network and crashes after some calls, except for the last one.
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
    insta::assert_snapshot!(plan.plan(), @"
      + create   vpc               onspot-ci
                   cidr: 10.0.0.0/16
      + create   internet gateway  onspot-ci-internet-gateway
      + create   subnet            onspot-ci-public-eu-west-1a
                   zone: eu-west-1a
                   cidr: 10.0.128.0/21
      + create   subnet            onspot-ci-private-eu-west-1a
                   zone: eu-west-1a
                   cidr: 10.0.0.0/20
      + create   subnet            onspot-ci-public-eu-west-1b
                   zone: eu-west-1b
                   cidr: 10.0.136.0/21
      + create   subnet            onspot-ci-private-eu-west-1b
                   zone: eu-west-1b
                   cidr: 10.0.16.0/20
      + create   route table       onspot-ci-public-routes
                   default route: internet gateway
      + create   elastic address   onspot-ci-nat-address
      + create   nat gateway       onspot-ci-nat-gateway
                   zone: eu-west-1a
      + create   security group    onspot-ci-worker-security-group
                   inbound: none
      + create   security group    onspot-ci-manager-security-group
                   inbound: none
      + create   route table       onspot-ci-private-routes
                   default route: nat gateway
      + create   vpc endpoint      onspot-ci-s3-endpoint
                   service: s3

    13 to create, 0 to update, 0 to replace, 0 to delete, 0 unchanged.
    ");
}

#[test]
fn people_see_what_will_go() {
    let cloud = built(&spec(&["a"], Nat::Gateway));
    insta::assert_snapshot!(teardown(&cloud.observed).plan(), @"
      - delete   nat gateway       onspot--nat-gateway (id-8)
      - delete   elastic address   onspot--nat-address (id-7)
      - delete   vpc endpoint      onspot--s3-endpoint (id-13)
      - delete   route table       onspot--public-routes (id-5)
      - delete   route table       onspot--private-routes (id-11)
      - delete   subnet            onspot--public-eu-west-1a (id-3)
      - delete   subnet            onspot--private-eu-west-1a (id-4)
      - delete   internet gateway  onspot--internet-gateway (id-2)
      - delete   security group    onspot--manager-security-group (id-10)
      - delete   security group    onspot--worker-security-group (id-9)
      - delete   vpc               onspot- (id-1)

    0 to create, 0 to update, 0 to replace, 11 to delete, 0 unchanged.
    ");
}

#[test]
fn a_zone_more_leaves_the_rest_alone() {
    let cloud = built(&spec(&["b"], Nat::Gateway));
    let plan = diff(&spec(&["b", "a"], Nat::Gateway), &cloud.observed).unwrap();
    insta::assert_snapshot!(plan.plan(), @"
      + create   subnet       onspot-ci-public-eu-west-1a
                   zone: eu-west-1a
                   cidr: 10.0.128.0/21
      + create   subnet       onspot-ci-private-eu-west-1a
                   zone: eu-west-1a
                   cidr: 10.0.0.0/20
      ~ update   route table  onspot-ci-public-routes (id-5)
                   subnet: (none) -> public-eu-west-1a
      ~ update   route table  onspot-ci-private-routes (id-11)
                   subnet: (none) -> private-eu-west-1a

    2 to create, 2 to update, 0 to replace, 0 to delete, 9 unchanged.
    ");
}

#[test]
fn what_instances_may_still_use_goes_last() {
    let mut cloud = built(&spec(&["a", "b"], Nat::Gateway));
    let (now, later) = diff(&spec(&["a"], Nat::None), &cloud.observed)
        .unwrap()
        .split();
    assert!(now.is_empty(), "nothing goes at once: {}", now.plan());
    insta::assert_snapshot!(later.plan(), @"
      ~ update   route table      onspot-ci-private-routes (id-14)
                   default route: id-11 -> (none)
      - delete   nat gateway      onspot-ci-nat-gateway (id-11)
      - delete   elastic address  onspot-ci-nat-address (id-10)
      - delete   subnet           onspot-ci-public-eu-west-1b (id-5)
      - delete   subnet           onspot-ci-private-eu-west-1b (id-6)

    0 to create, 1 to update, 0 to replace, 4 to delete, 0 unchanged.
    ");
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
fn workers_reach_one_port_of_managers_only_while_it_is_wanted() {
    let closed = spec(&["a"], Nat::None);
    let open = with_port(closed.clone(), Some(5000));
    let mut cloud = built(&open);
    let workers = cloud.id(&Role::SecurityGroup(Member::Worker));
    let rule = |port| InboundRule::Port {
        port,
        from: workers.clone(),
    };
    assert_eq!(cloud.group(Member::Manager).inbound, [rule(5000)]);
    assert!(cloud.group(Member::Worker).inbound.is_empty());

    // Rules that somebody else opened, another port, another group, no rule at all.
    let stranger = InboundRule::Port {
        port: 5000,
        from: "id-of-another".to_owned(),
    };
    for drift in [
        vec![rule(5000), InboundRule::Other],
        vec![rule(5001)],
        vec![stranger],
        vec![],
    ] {
        cloud.group(Member::Manager).inbound = drift;
        let plan = diff(&open, &cloud.observed).unwrap();
        assert_eq!(plan.plan().summary().update, 1, "{}", plan.plan());
        cloud.run(&plan, usize::MAX);
        assert_eq!(cloud.group(Member::Manager).inbound, [rule(5000)]);
        assert!(diff(&open, &cloud.observed).unwrap().is_empty());
    }

    let (now, later) = diff(&closed, &cloud.observed).unwrap().split();
    assert!(
        later.is_empty(),
        "closing waits for nobody: {}",
        later.plan()
    );
    insta::assert_snapshot!(now.plan(), @"
      ~ update   security group  onspot-ci-manager-security-group (id-8)
                   inbound: 1 rule -> none

    0 to create, 1 to update, 0 to replace, 0 to delete, 8 unchanged.
    ");
    cloud.run(&now, usize::MAX);
    assert!(cloud.group(Member::Manager).inbound.is_empty());
}

#[test]
fn a_group_that_a_rule_names_goes_after_the_rule() {
    let mut cloud = built(&with_port(spec(&["a"], Nat::None), Some(5000)));
    // EC2 lists them in any order.
    cloud.observed.groups.sort_by(|a, b| b.role.cmp(&a.role));
    cloud.run(&teardown(&cloud.observed), usize::MAX);
    assert!(cloud.observed.is_empty(), "left: {:?}", cloud.observed);
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
