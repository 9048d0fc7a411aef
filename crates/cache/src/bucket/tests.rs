//! What a plan changes, and how it is displayed.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use wiremock::matchers::{any, body_string_contains};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

fn spec() -> BucketSpec {
    BucketSpec::new("ci", "123456789012", "eu-west-1")
}

/// The bucket after the whole plan was applied.
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
fn whatever_differs_is_set_again() {
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
fn a_missing_bucket_needs_no_removal() {
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

/// A job may take longer than a day, and its objects are not rewritten meanwhile.
#[test]
fn only_records_of_finished_jobs_expire_in_the_ledger() {
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

/// Creates the bucket against an S3 that answers a creation with tags by `refusal`, if any; returns
/// the bodies of the calls that create it.
async fn creation_calls(refusal: Option<&str>) -> Vec<String> {
    let server = MockServer::start().await;
    if let Some(code) = refusal {
        let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
        Mock::given(body_string_contains("<Key>onspot:stack</Key>"))
            .and(body_string_contains("CreateBucketConfiguration"))
            .respond_with(ResponseTemplate::new(403).set_body_string(body))
            .with_priority(1)
            .mount(&server)
            .await;
    }
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIATEST", "test", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .force_path_style(true)
        .endpoint_url(server.uri());
    let plan = diff(&spec(), None).unwrap();
    let (events, _nobody_listens) = onspot_reconcile::event_channel();
    apply(&Client::from_conf(config.build()), &plan, &events)
        .await
        .unwrap();
    let sent = server.received_requests().await.unwrap();
    let bodies = sent
        .iter()
        .map(|request| String::from_utf8_lossy(&request.body).into_owned());
    bodies
        .filter(|body| body.contains("CreateBucketConfiguration"))
        .collect()
}

#[tokio::test]
async fn a_bucket_is_tagged_in_the_call_that_creates_it_if_allowed() {
    let made = creation_calls(None).await;
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(made[0].contains("<Key>onspot:stack</Key>"), "{made:?}");
    for code in ["AccessDenied", "MalformedXML"] {
        let made = creation_calls(Some(code)).await;
        assert_eq!(made.len(), 2, "{code}: {made:?}");
        assert!(!made[1].contains("onspot:stack"), "{code}: {made:?}");
    }
}
