//! What the managers' group lets in.

use super::*;

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

    // What somebody opened beside it, another port, another group, nothing at all.
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
    insta::assert_snapshot!(now.plan());
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
