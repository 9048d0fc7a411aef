//! The managers' group while Auto Scaling is changing it.

use aws_sdk_autoscaling::Client as AutoScaling;
use onspot_fleet::group::{self, GroupSpec, GroupState, MemberState};
use onspot_fleet::template::Content;
use onspot_reconcile::{Tags, event_channel};

use super::*;

fn autoscaling(endpoint: &str) -> AutoScaling {
    let config = aws_sdk_autoscaling::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(credentials())
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint)
        .build();
    AutoScaling::from_conf(config)
}

fn spec() -> GroupSpec {
    GroupSpec {
        stack: "ci".to_owned(),
        name: "onspot-ci-manager".to_owned(),
        template: "onspot-ci-manager".to_owned(),
        content: Content("new".to_owned()),
        subnets: vec!["subnet-a".to_owned()],
        count: 1,
        tags: Tags::new(),
    }
}

/// `DescribeAutoScalingGroups` with one group of this status, or none.
fn groups(status: Option<&str>, members: &str) -> String {
    let group = status.map_or(String::new(), |status| {
        format!(
            "<member><AutoScalingGroupName>onspot-ci-manager</AutoScalingGroupName>
             <MinSize>1</MinSize><MaxSize>1</MaxSize><DesiredCapacity>1</DesiredCapacity>
             <Instances>{members}</Instances>{status}</member>"
        )
    });
    format!(
        "<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult>
         <AutoScalingGroups>{group}</AutoScalingGroups>
         </DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>"
    )
}

/// Answers an action with this response, but only once.
async fn once(server: &MockServer, action: &str, response: ResponseTemplate) {
    Mock::given(body_string_contains(format!("Action={action}&")))
        .respond_with(response)
        .up_to_n_times(1)
        .with_priority(1)
        .mount(server)
        .await;
}

fn busy(code: &str) -> ResponseTemplate {
    ResponseTemplate::new(400).set_body_string(format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>
         <Message>You cannot do that now.</Message></Error></ErrorResponse>"
    ))
}

/// The managers' launch template, and no instance.
async fn templates(server: &MockServer) {
    let template = r#"<DescribeLaunchTemplatesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <launchTemplates><item><launchTemplateId>lt-1</launchTemplateId>
        <launchTemplateName>onspot-ci-manager</launchTemplateName>
        <defaultVersionNumber>1</defaultVersionNumber><latestVersionNumber>1</latestVersionNumber>
        </item></launchTemplates></DescribeLaunchTemplatesResponse>"#;
    let versions = r#"<DescribeLaunchTemplateVersionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <launchTemplateVersionSet><item><launchTemplateId>lt-1</launchTemplateId>
        <launchTemplateName>onspot-ci-manager</launchTemplateName><versionNumber>1</versionNumber>
        <defaultVersion>true</defaultVersion></item></launchTemplateVersionSet>
        </DescribeLaunchTemplateVersionsResponse>"#;
    answer(server, "DescribeLaunchTemplates", template).await;
    answer(server, "DescribeLaunchTemplateVersions", versions).await;
    answer(server, "DescribeInstances", &page("", None)).await;
}

async fn count(server: &MockServer, action: &str) -> usize {
    let sent = server.received_requests().await.expect("recorded requests");
    let action = format!("Action={action}&");
    sent.iter()
        .filter(|request| String::from_utf8_lossy(&request.body).contains(&action))
        .count()
}

#[tokio::test]
async fn a_busy_group_is_asked_to_go_again() {
    let server = MockServer::start().await;
    once(&server, "DeleteAutoScalingGroup", busy("ResourceInUse")).await;
    answer(
        &server,
        "DeleteAutoScalingGroup",
        "<DeleteAutoScalingGroupResponse/>",
    )
    .await;
    answer(&server, "DescribeAutoScalingGroups", &groups(None, "")).await;
    answer(&server, "DescribeInstances", &page("", None)).await;
    let plan = group::teardown(&spec(), Some(&GroupState::default()));
    let (events, _nobody_listens) = event_channel();
    let (autoscaling, ec2) = (autoscaling(&server.uri()), client(&server.uri()));
    group::destroy(&autoscaling, &ec2, &plan, &events)
        .await
        .expect("the group goes");
    assert_eq!(count(&server, "DeleteAutoScalingGroup").await, 2);
}

#[tokio::test]
async fn a_group_is_made_after_the_end_of_the_one_before() {
    let server = MockServer::start().await;
    templates(&server).await;
    let leaving = groups(Some("<Status>Delete in progress</Status>"), "");
    let leaving = ResponseTemplate::new(200).set_body_string(leaving);
    once(&server, "DescribeAutoScalingGroups", leaving).await;
    once(&server, "CreateAutoScalingGroup", busy("AlreadyExists")).await;
    answer(
        &server,
        "CreateAutoScalingGroup",
        "<CreateAutoScalingGroupResponse/>",
    )
    .await;
    let member = "<member><InstanceId>i-1</InstanceId><HealthStatus>Healthy</HealthStatus>
        <LifecycleState>InService</LifecycleState></member>";
    // No group until it was made.
    let made = groups(Some(""), member);
    let none = groups(None, "");
    let asked = std::sync::atomic::AtomicUsize::new(0);
    Mock::given(body_string_contains("Action=DescribeAutoScalingGroups&"))
        .respond_with(move |_: &wiremock::Request| {
            let asked = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let body = if asked < 3 { &none } else { &made };
            ResponseTemplate::new(200).set_body_string(body)
        })
        .mount(&server)
        .await;
    let plan = group::diff(&spec(), None).expect("a plan");
    let (events, _nobody_listens) = event_channel();
    let (autoscaling, ec2) = (autoscaling(&server.uri()), client(&server.uri()));
    group::apply(&autoscaling, &ec2, &plan, &events)
        .await
        .expect("the group");
    assert_eq!(count(&server, "CreateAutoScalingGroup").await, 2);
    let sent = server.received_requests().await.expect("recorded requests");
    let made = sent
        .iter()
        .map(|request| String::from_utf8_lossy(&request.body).into_owned())
        .filter(|body| body.starts_with("Action=CreateAutoScalingGroup&"));
    for body in made {
        assert!(
            body.contains("onspot%3Astack") && body.contains("PropagateAtLaunch=true"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_group_that_cannot_launch_says_why() {
    let server = MockServer::start().await;
    templates(&server).await;
    answer(
        &server,
        "CreateAutoScalingGroup",
        "<CreateAutoScalingGroupResponse/>",
    )
    .await;
    answer(&server, "DescribeAutoScalingGroups", &groups(None, "")).await;
    let launches = std::sync::atomic::AtomicUsize::new(0);
    Mock::given(body_string_contains("Action=DescribeScalingActivities&"))
        .respond_with(move |_: &wiremock::Request| {
            let launch = launches.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            ResponseTemplate::new(200).set_body_string(format!(
                "<DescribeScalingActivitiesResponse><DescribeScalingActivitiesResult><Activities>
                 <member><ActivityId>{launch}</ActivityId><StatusCode>Failed</StatusCode>
                 <StatusMessage>You have requested more vCPU capacity than your limit.</StatusMessage>
                 </member></Activities></DescribeScalingActivitiesResult>
                 </DescribeScalingActivitiesResponse>"
            ))
        })
        .mount(&server)
        .await;
    let plan = group::diff(&spec(), None).expect("a plan");
    let (events, _nobody_listens) = event_channel();
    let (autoscaling, ec2) = (autoscaling(&server.uri()), client(&server.uri()));
    let error = group::apply(&autoscaling, &ec2, &plan, &events)
        .await
        .expect_err("no manager");
    insta::assert_snapshot!(error, @"auto scaling group onspot-ci-manager cannot launch its instances: You have requested more vCPU capacity than your limit.");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_manager_is_replaced_once_the_group_is_not_busy() {
    const ACTION: &str = "TerminateInstanceInAutoScalingGroup";
    let server = MockServer::start().await;
    templates(&server).await;
    let member = |id: &str| {
        format!(
            "<member><InstanceId>{id}</InstanceId><HealthStatus>Healthy</HealthStatus>
             <LifecycleState>InService</LifecycleState></member>"
        )
    };
    let with = |id: &str| {
        let groups = groups(Some(""), &member(id));
        ResponseTemplate::new(200).set_body_string(groups)
    };
    once(&server, "DescribeAutoScalingGroups", with("i-old")).await;
    once(&server, ACTION, busy("ScalingActivityInProgress")).await;
    let ended = format!("<{ACTION}Response><{ACTION}Result/></{ACTION}Response>");
    answer(&server, ACTION, &ended).await;
    Mock::given(body_string_contains("Action=DescribeAutoScalingGroups&"))
        .respond_with(with("i-new"))
        .mount(&server)
        .await;
    let old = MemberState {
        id: InstanceId::from("i-old"),
        in_service: true,
        content: None,
    };
    let state = GroupState {
        sizes: (1, 1, 1),
        subnets: spec().subnets,
        content: Some(spec().content),
        tags: spec().all_tags(),
        members: vec![old],
    };
    let plan = group::diff(&spec(), Some(&state)).expect("a plan");
    let (events, _nobody_listens) = event_channel();
    let (autoscaling, ec2) = (autoscaling(&server.uri()), client(&server.uri()));
    group::apply(&autoscaling, &ec2, &plan, &events)
        .await
        .expect("another manager");
    assert_eq!(count(&server, ACTION).await, 2);
}
