//! The policies as they are sent, and the comparison with existing resources.

use serde_json::json;

use super::*;
use crate::names::Names;

const ACCOUNT: &str = "123456789012";

fn names() -> Names {
    Names::new("ci", "eu-west-1").unwrap()
}

fn role(slug: &str) -> RoleSpec {
    let names = names();
    RoleSpec {
        name: names.worker_role(slug),
        path: names.iam_path(),
        policy: worker_policy(WorkerGrant {
            names: &names,
            account: ACCOUNT,
            slug,
        }),
        tags: Tags::of_stack("ci"),
    }
}

fn desired() -> Desired {
    let roles = vec![role("docker-m3")];
    Desired {
        path: names().iam_path(),
        roles,
        trust: trust_policy("eu-west-1"),
    }
}

/// The observed state after all of `desired` was made.
fn made(desired: &Desired) -> Observed {
    let mut observed = Observed {
        service_linked: ServiceLinkedRole::ALL.into(),
        ..Observed::default()
    };
    for role in &desired.roles {
        let state = RoleState {
            id: format!("AROA{}", role.name),
            trust: desired.trust.clone(),
            policy: Some(role.policy.clone()),
            tags: role.tags.clone(),
        };
        observed.roles.insert(role.name.clone(), state);
        let profile = ProfileState {
            id: "AIPA1".into(),
            roles: vec![role.name.clone()],
            tags: role.tags.clone(),
        };
        observed.profiles.insert(role.name.clone(), profile);
    }
    observed
}

#[test]
fn what_a_worker_may_do() {
    insta::assert_json_snapshot!(role("docker-m3").policy);
}

#[test]
fn what_a_manager_may_do() {
    let names = names();
    let grant = ManagerGrant {
        names: &names,
        account: ACCOUNT,
        worker_roles: vec![names.worker_role("docker-m3")],
        token_parameters: vec!["/onspot/ci/docker-m3/token".into(), "my-token".into()],
        foreign_parameters: vec!["my-token".into()],
    };
    insta::assert_json_snapshot!(manager_policy(&grant));
}

#[test]
fn nobody_may_do_everything_anywhere() {
    let names = names();
    let grant = ManagerGrant {
        names: &names,
        account: ACCOUNT,
        worker_roles: vec![names.worker_role("docker-m3")],
        token_parameters: vec!["/onspot/ci/docker-m3/token".into()],
        foreign_parameters: Vec::new(),
    };
    for policy in [manager_policy(&grant), role("docker-m3").policy] {
        for statement in policy["Statement"].as_array().unwrap() {
            let actions = statement["Action"].as_array().unwrap();
            let only_looks = actions
                .iter()
                .all(|action| action.as_str().unwrap().contains(":Describe"));
            // ECR knows no resource for it; what the token opens is another statement.
            let is_token = statement["Action"] == json!(["ecr:GetAuthorizationToken"]);
            assert!(
                statement["Resource"] != json!("*") || only_looks || is_token,
                "{statement}"
            );
            assert!(
                actions.iter().all(|a| !a.as_str().unwrap().contains('*')),
                "{statement}"
            );
        }
    }
}

#[test]
fn other_parts_of_aws_have_other_arns() {
    let names = Names::new("ci", "cn-north-1").unwrap();
    let policy = worker_policy(WorkerGrant {
        names: &names,
        account: ACCOUNT,
        slug: "a",
    });
    assert!(!policy.to_string().contains("arn:aws:"));
    assert!(
        trust_policy("cn-north-1")
            .to_string()
            .contains("ec2.amazonaws.com.cn")
    );
}

#[test]
fn a_fresh_account_gets_everything_and_then_nothing_more() {
    let desired = desired();
    let plan = diff(&desired, &Observed::default(), &[]);
    insta::assert_snapshot!(plan.plan());
    assert!(diff(&desired, &made(&desired), &[]).plan().is_empty());
}

#[test]
fn what_somebody_changed_is_set_right() {
    let desired = desired();
    let mut observed = made(&desired);
    for role in observed.roles.values_mut() {
        role.policy = Some(json!({ "Statement": "anything" }));
        role.trust = json!({});
    }
    for profile in observed.profiles.values_mut() {
        profile.roles.clear();
    }
    let plan = diff(&desired, &observed, &[]).plan();
    assert_eq!(plan.summary().update, 2);
}

#[test]
fn the_role_of_a_removed_runner_goes_once_its_workers_are_gone() {
    let desired = desired();
    let old = role("old");
    let both = Desired {
        roles: vec![role("docker-m3"), old.clone()],
        ..desired.clone()
    };
    let observed = made(&both);
    assert_eq!(diff(&desired, &observed, &[]).plan().summary().delete, 2);
    assert!(diff(&desired, &observed, &[old.name]).plan().is_empty());
}

#[test]
fn down_leaves_the_accounts_own_roles() {
    let plan = teardown(&made(&desired())).plan();
    assert_eq!(plan.summary().delete, 2);
    let order: Vec<_> = plan
        .changes
        .iter()
        .map(|change| change.resource.as_str())
        .collect();
    assert_eq!(order, ["instance profile", "role"]);
}

/// An IAM that accepts every call, but does not know a new resource when it is first asked.
async fn forgetful_iam() -> wiremock::MockServer {
    use wiremock::matchers::body_string_contains;
    use wiremock::{Mock, MockServer, Request, ResponseTemplate};

    let server = MockServer::start().await;
    for action in ["PutRolePolicy", "AddRoleToInstanceProfile"] {
        let unknown = "<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code>
            <Message>The role cannot be found.</Message></Error></ErrorResponse>";
        Mock::given(body_string_contains(format!("Action={action}&")))
            .respond_with(ResponseTemplate::new(404).set_body_string(unknown))
            .up_to_n_times(1)
            .with_priority(1)
            .mount(&server)
            .await;
    }
    let role = "<Role><Path>/</Path><RoleName>r</RoleName><RoleId>AROA1</RoleId><Arn>a</Arn>
        <CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>";
    let profile = "<InstanceProfile><Path>/</Path><InstanceProfileName>p</InstanceProfileName>
        <InstanceProfileId>AIPA1</InstanceProfileId><Arn>a</Arn><Roles/>
        <CreateDate>2026-01-01T00:00:00Z</CreateDate></InstanceProfile>";
    let answer = move |request: &Request| {
        let body = String::from_utf8_lossy(&request.body);
        let action = body.strip_prefix("Action=").unwrap_or_default();
        let action = action.split('&').next().unwrap_or_default();
        ResponseTemplate::new(200).set_body_string(format!(
            "<{action}Response><{action}Result>{role}{profile}</{action}Result></{action}Response>"
        ))
    };
    Mock::given(body_string_contains("Action="))
        .respond_with(answer)
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn what_iam_does_not_know_yet_is_tried_again() {
    use aws_sdk_iam::config::{BehaviorVersion, Credentials, Region};

    let server = forgetful_iam().await;
    let config = aws_sdk_iam::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIATEST", "test", None, None, "test"))
        .endpoint_url(server.uri())
        .build();
    let nothing = Observed {
        service_linked: ServiceLinkedRole::ALL.into(),
        ..Observed::default()
    };
    let plan = diff(&desired(), &nothing, &[]);
    let (events, _nobody_listens) = onspot_reconcile::event_channel();
    let ids = apply(&aws_sdk_iam::Client::from_conf(config), &plan, &events)
        .await
        .unwrap();
    assert_eq!(ids.values().collect::<Vec<_>>(), ["AROA1"]);
}
