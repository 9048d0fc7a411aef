//! What a plan mends, and what it says.

use super::*;

fn spec() -> BucketSpec {
    BucketSpec::new("ci", "123456789012", "eu-west-1")
}

/// The bucket as it is after all of the plan.
fn as_wanted() -> BucketState {
    BucketState {
        tags: spec().all_tags(),
        encrypted: true,
        private: true,
        owner_enforced: true,
        policy: Some(spec().policy()),
        expiry: spec().expiry(),
    }
}

#[test]
fn the_name_holds_account_and_region() {
    assert_eq!(spec().name, "onspot-ci-123456789012-eu-west-1");
}

#[test]
fn a_bucket_as_wanted_is_left_alone() {
    let plan = diff(&spec(), Some(&as_wanted())).unwrap();
    assert!(plan.is_empty() && plan.plan().is_empty());
}

#[test]
fn whatever_is_not_as_wanted_is_set_again() {
    type Spoil = fn(&mut BucketState);
    let cases: [(Spoil, Action); 6] = [
        (|state| state.tags = Tags::new(), Action::Tag),
        (|state| state.encrypted = false, Action::Encrypt),
        (|state| state.private = false, Action::BlockPublicAccess),
        (|state| state.owner_enforced = false, Action::EnforceOwner),
        (|state| state.policy = None, Action::SetPolicy),
        (|state| state.expiry.truncate(1), Action::SetExpiry),
    ];
    for (spoil, action) in cases {
        let mut state = as_wanted();
        spoil(&mut state);
        assert_eq!(diff(&spec(), Some(&state)).unwrap().actions, [action]);
    }
}

#[test]
fn people_see_what_a_new_bucket_will_be() {
    insta::assert_snapshot!(diff(&spec(), None).unwrap().plan());
}

#[test]
fn what_is_not_there_needs_no_removal() {
    assert!(teardown(&spec(), None).is_empty());
    assert!(!teardown(&spec(), Some(&as_wanted())).is_empty());
}

#[test]
fn other_partitions_have_other_arns() {
    let china = BucketSpec::new("ci", "1", "cn-north-1")
        .policy()
        .to_string();
    assert!(china.contains("arn:aws-cn:s3:::onspot-ci-1-cn-north-1/*"));
}

/// A job may take longer than a day, and its objects are not written meanwhile.
#[test]
fn nothing_of_the_ledger_expires_but_what_is_over() {
    let expires = |key: &str| {
        let rules = spec().expiry();
        rules
            .iter()
            .any(|rule| rule.expire_days.is_some() && key.starts_with(&rule.prefix))
    };
    let alive = [
        "run/leader",
        "run/order/AROA:i-1",
        "run/job/r/7",
        "run/job/r/7.payload",
        "run/payload/AROA:i-1/7.1",
        "run/state/AROA:i-1",
        "bin/onspot",
    ];
    for key in alive {
        assert!(!expires(key), "{key}");
    }
    assert!(expires("run/done/r/7") && expires("cache/r/1/key"));
}
