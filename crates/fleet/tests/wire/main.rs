//! The requests to EC2, and how its answers are read.

mod group;
mod observation;
mod versions;

use aws_credential_types::Credentials;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::{BehaviorVersion, Region};
use onspot_fleet::{
    Ec2Fleet, Error, FleetSpec, Image, Instance, InstanceId, InstanceState, LaunchFailure,
    LaunchRequest, Launched, Lifecycle, Pool, Refusal, template,
};
use onspot_reconcile::{CallFailure, Tags};
use wiremock::matchers::body_string_contains;
use wiremock::{Mock, MockServer, ResponseTemplate};

const SUBNETS: &str = r#"<DescribeSubnetsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <subnetSet>
    <item><subnetId>subnet-a</subnetId><availabilityZone>eu-west-1a</availabilityZone></item>
    <item><subnetId>subnet-b</subnetId><availabilityZone>eu-west-1b</availabilityZone></item>
  </subnetSet>
</DescribeSubnetsResponse>"#;

const FLEET: &str = r#"<CreateFleetResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <fleetId>fleet-1</fleetId>
  <fleetInstanceSet>
    <item>
      <instanceIds><item>i-1</item><item>i-2</item></instanceIds>
      <instanceType>m6i.large</instanceType>
      <lifecycle>spot</lifecycle>
      <launchTemplateAndOverrides><overrides>
        <instanceType>m6i.large</instanceType><subnetId>subnet-b</subnetId>
      </overrides></launchTemplateAndOverrides>
    </item>
  </fleetInstanceSet>
  <errorSet>
    <item>
      <errorCode>InsufficientInstanceCapacity</errorCode>
      <errorMessage>There is no Spot capacity available that matches your request.</errorMessage>
      <lifecycle>spot</lifecycle>
      <launchTemplateAndOverrides><overrides>
        <instanceType>c6i.large</instanceType><subnetId>subnet-a</subnetId>
      </overrides></launchTemplateAndOverrides>
    </item>
  </errorSet>
</CreateFleetResponse>"#;

/// An instance as `DescribeInstances` returns it.
fn described(id: &str, state: (u8, &str)) -> String {
    let (code, name) = state;
    format!(
        "<item><instancesSet><item>
           <instanceId>{id}</instanceId>
           <instanceState><code>{code}</code><name>{name}</name></instanceState>
           <instanceType>m6i.large</instanceType>
           <instanceLifecycle>spot</instanceLifecycle>
           <launchTime>2026-11-24T00:00:00.000Z</launchTime>
           <placement><availabilityZone>eu-west-1a</availabilityZone></placement>
           <stateReason><code>Server.SpotInstanceTermination</code></stateReason>
           <tagSet><item><key>onspot:runner</key><value>docker.m3</value></item></tagSet>
         </item></instancesSet></item>"
    )
}

/// One page of `DescribeInstances`.
fn page(instances: &str, next: Option<&str>) -> String {
    let next = next
        .map(|token| format!("<nextToken>{token}</nextToken>"))
        .unwrap_or_default();
    format!(
        r#"<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
           <reservationSet>{instances}</reservationSet>{next}</DescribeInstancesResponse>"#
    )
}

fn refusal(code: &str, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(400).set_body_string(format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>
         <RequestID>1</RequestID></Response>"
    ))
}

async fn answer(server: &MockServer, action: &str, body: &str) {
    Mock::given(body_string_contains(format!("Action={action}&")))
        .respond_with(ResponseTemplate::new(200).set_body_string(body))
        .mount(server)
        .await;
}

fn credentials() -> Credentials {
    Credentials::new("AKIDEXAMPLE", "secret", None, None, "test")
}

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(credentials())
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}

fn fleet(endpoint: &str) -> Ec2Fleet {
    let spec = FleetSpec {
        stack: "ci".to_owned(),
        runner: "docker.m3".to_owned(),
        launch_template: "onspot-ci-docker-m3".to_owned(),
        tags: Tags::new().with("cost-center", "42").noted(),
        subnets: vec!["subnet-a".to_owned(), "subnet-b".to_owned()],
        instance_types: vec!["m6i.large".to_owned(), "c6i.large".to_owned()],
        spot_max_price: Some("0.05".to_owned()),
    };
    Ec2Fleet::new(client(endpoint), spec)
}

fn pool(instance_type: &str, zone: &str) -> Pool {
    let (instance_type, zone) = (instance_type.to_owned(), zone.to_owned());
    Pool {
        instance_type,
        zone,
        lifecycle: Lifecycle::Spot,
    }
}

fn request(avoid: Vec<Pool>) -> LaunchRequest {
    LaunchRequest {
        count: 3,
        lifecycle: Lifecycle::Spot,
        token: "job-7-1".to_owned(),
        avoid,
    }
}

async fn launch(server: &MockServer, request: LaunchRequest) -> (Launched, Vec<(String, String)>) {
    answer(server, "DescribeSubnets", SUBNETS).await;
    answer(server, "CreateFleet", FLEET).await;
    let launched = fleet(&server.uri())
        .launch(request)
        .await
        .expect("a launch");
    let sent = server.received_requests().await.expect("recorded requests");
    let body = String::from_utf8(sent.last().expect("a request").body.clone()).expect("text");
    let url = url::form_urlencoded::parse(body.as_bytes());
    (launched, url.into_owned().collect())
}

#[tokio::test]
async fn a_launch_says_what_came_and_why_not_more() {
    let server = MockServer::start().await;
    let (launched, _) = launch(&server, request(Vec::new())).await;
    let ids: Vec<_> = launched.instances.iter().map(|i| i.id.as_str()).collect();
    assert_eq!(ids, ["i-1", "i-2"]);
    assert_eq!(launched.instances[0].pool, pool("m6i.large", "eu-west-1b"));
    let error = &launched.errors[0];
    assert_eq!(error.pool, pool("c6i.large", "eu-west-1a"));
    assert_eq!(error.refusal(), Refusal::Capacity);
    assert_eq!(
        error.to_string(),
        "c6i.large in eu-west-1a (spot): There is no Spot capacity available that matches your \
         request. (InsufficientInstanceCapacity)"
    );
}

#[tokio::test]
async fn a_launch_asks_for_the_best_pools_once() {
    let server = MockServer::start().await;
    let (_, sent) = launch(&server, request(vec![pool("c6i.large", "eu-west-1a")])).await;
    let value = |key: &str| {
        let found = sent.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    };
    let target = |name: &str| value(&format!("TargetCapacitySpecification.{name}"));
    assert_eq!(value("Type"), Some("instant"));
    assert_eq!(value("ClientToken"), Some("job-7-1"));
    assert_eq!(target("TotalTargetCapacity"), Some("3"));
    assert_eq!(target("SpotTargetCapacity"), Some("3"));
    assert_eq!(target("OnDemandTargetCapacity"), Some("0"));
    assert_eq!(
        value("SpotOptions.AllocationStrategy"),
        Some("price-capacity-optimized")
    );
    for kind in ["fleet", "instance", "volume"] {
        let key = sent.iter().find(|(_, value)| value == kind);
        let (key, _) = key.expect("a tag specification");
        assert!(key.starts_with("TagSpecification."), "{key}");
    }
    let overrides = |field: &str| -> Vec<&str> {
        let ours = |name: &str| name.contains(".Overrides.") && name.ends_with(field);
        sent.iter()
            .filter(|(name, _)| ours(name))
            .map(|(_, value)| value.as_str())
            .collect()
    };
    assert_eq!(
        overrides(".InstanceType"),
        ["m6i.large", "m6i.large", "c6i.large"]
    );
    assert_eq!(overrides(".SubnetId"), ["subnet-a", "subnet-b", "subnet-b"]);
    assert_eq!(overrides(".MaxPrice"), ["0.05", "0.05", "0.05"]);
}

#[tokio::test]
async fn if_all_pools_are_to_be_avoided_all_are_tried() {
    let server = MockServer::start().await;
    let all = fleet(&server.uri());
    answer(&server, "DescribeSubnets", SUBNETS).await;
    let all = all.pools(Lifecycle::Spot).await.expect("pools");
    assert_eq!(all.len(), 4);
    let (_, sent) = launch(&server, request(all)).await;
    assert_eq!(
        sent.iter()
            .filter(|(name, _)| name.ends_with(".SubnetId"))
            .count(),
        4
    );
}

async fn refused(response: ResponseTemplate) -> Error {
    let server = MockServer::start().await;
    Mock::given(body_string_contains("Action="))
        .respond_with(response)
        .mount(&server)
        .await;
    fleet(&server.uri()).observe().await.expect_err("a refusal")
}

#[tokio::test]
async fn a_refusal_keeps_ec2s_words_and_says_what_to_do() {
    let message = "You are not authorized to perform this operation.";
    let error = refused(refusal("UnauthorizedOperation", message)).await;
    insta::assert_snapshot!(error, @"AWS refused DescribeInstances: You are not authorized to perform this operation. (UnauthorizedOperation)");
    insta::assert_snapshot!(error.hint().expect("a hint"), @"these credentials lack permission for DescribeInstances: use an identity that may do it");
    let Error::Call(call) = error else {
        panic!("not a failed call: {error}")
    };
    assert_eq!(call.failure(), CallFailure::Denied);
}

#[tokio::test]
async fn an_endpoint_that_nobody_listens_at_is_named_as_such() {
    // A port that was free a moment ago: its listener is closed again at once.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let endpoint = format!("http://{}", silent.expect("a free port"));
    let error = fleet(&endpoint)
        .observe()
        .await
        .expect_err("nobody answers");
    assert!(
        error
            .to_string()
            .starts_with("cannot reach AWS for DescribeInstances: "),
        "{error}"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("aws.endpoint_url"))
    );
}

#[tokio::test]
async fn without_credentials_it_says_how_to_get_some() {
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .retry_config(RetryConfig::disabled())
        .build();
    let nobody = Client::from_conf(config);
    let error = onspot_fleet::instances(&nobody, "ci", None)
        .await
        .expect_err("no credentials");
    insta::assert_snapshot!(error, @"no AWS credentials for DescribeInstances");
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("AWS_PROFILE"))
    );
}

#[tokio::test]
async fn a_repeated_launch_is_the_same_request_with_the_same_token() {
    let server = MockServer::start().await;
    let fault = "<Response><Errors><Error><Code>InternalError</Code>\
                 <Message>An internal error has occurred</Message></Error></Errors>\
                 <RequestID>1</RequestID></Response>";
    Mock::given(body_string_contains("Action=CreateFleet&"))
        .respond_with(ResponseTemplate::new(500).set_body_string(fault))
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&server)
        .await;
    answer(&server, "DescribeSubnets", SUBNETS).await;
    answer(&server, "CreateFleet", FLEET).await;
    let fleet = fleet(&server.uri());
    let dry = request(vec![pool("c6i.large", "eu-west-1a")]);
    let error = fleet.launch(dry.clone()).await.expect_err("no answer");
    assert_eq!(error.launch_failure(), LaunchFailure::Unknown);
    fleet.launch(dry).await.expect("a launch");
    let sent = server.received_requests().await.expect("recorded requests");
    let launches: Vec<&[u8]> = sent
        .iter()
        .map(|request| request.body.as_slice())
        .filter(|body| body.starts_with(b"Action=CreateFleet&"))
        .collect();
    let token = b"ClientToken=job-7-1";
    assert_eq!(launches.len(), 2);
    assert!(launches[0].windows(token.len()).any(|part| part == token));
    assert_eq!(launches[0], launches[1]);
}

#[tokio::test]
async fn a_failed_call_says_whether_something_may_have_been_launched() {
    for (code, failure) in [
        (
            "UnauthorizedOperation",
            LaunchFailure::Refused(Refusal::Configuration),
        ),
        (
            "InvalidLaunchTemplateName.NotFoundException",
            LaunchFailure::Refused(Refusal::Configuration),
        ),
        (
            "MaxFleetCountExceeded",
            LaunchFailure::Refused(Refusal::Limit),
        ),
        (
            "RequestLimitExceeded",
            LaunchFailure::Refused(Refusal::Throttled),
        ),
        ("IdempotentParameterMismatch", LaunchFailure::TokenUsed),
        ("ServiceUnavailable", LaunchFailure::Unknown),
        ("NewTomorrow", LaunchFailure::Refused(Refusal::Fault)),
    ] {
        let server = MockServer::start().await;
        answer(&server, "DescribeSubnets", SUBNETS).await;
        Mock::given(body_string_contains("Action=CreateFleet&"))
            .respond_with(refusal(code, "no"))
            .mount(&server)
            .await;
        let launch = fleet(&server.uri()).launch(request(Vec::new())).await;
        let error = launch.expect_err("a refusal");
        assert_eq!(error.launch_failure(), failure, "{code}");
    }
}

#[tokio::test]
async fn everything_that_a_launch_template_makes_is_tagged_in_the_call_that_makes_it() {
    let server = MockServer::start().await;
    let made = r#"<CreateLaunchTemplateResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <launchTemplate><launchTemplateId>lt-1</launchTemplateId></launchTemplate>
        </CreateLaunchTemplateResponse>"#;
    answer(&server, "CreateLaunchTemplate", made).await;
    let spec = template::TemplateSpec {
        stack: "ci".to_owned(),
        name: "onspot-ci-a".to_owned(),
        spot: false,
        role: "worker".to_owned(),
        runner: Some("a".to_owned()),
        image: Image {
            id: "ami-1".to_owned(),
            name: "al2023".to_owned(),
            architecture: "x86_64".to_owned(),
            root_device: "/dev/xvda".to_owned(),
            root_gb: 8,
        },
        instance_type: None,
        disk_gb: None,
        instance_profile: "p".to_owned(),
        security_group: "sg-1".to_owned(),
        user_data: String::new(),
        tags: Tags::new().with("cost-center", "42"),
    };
    let plan = template::diff(&[spec], &std::collections::BTreeMap::new()).expect("a plan");
    let (events, _seen) = tokio::sync::mpsc::unbounded_channel();
    template::apply(&client(&server.uri()), &plan, &events)
        .await
        .expect("a template");
    let sent = server.received_requests().await.expect("recorded requests");
    let pairs: Vec<_> = url::form_urlencoded::parse(&sent[0].body)
        .into_owned()
        .collect();
    for kind in ["instance", "volume", "network-interface", "launch-template"] {
        let (key, _) = pairs
            .iter()
            .find(|(key, value)| value == kind && key.ends_with("ResourceType"))
            .unwrap_or_else(|| panic!("{kind} is not tagged"));
        let prefix = key.trim_end_matches("ResourceType");
        let tagged = pairs
            .iter()
            .any(|(key, value)| key.starts_with(prefix) && value == "cost-center");
        assert!(tagged, "{kind} lacks the organisation's tag");
    }
}
