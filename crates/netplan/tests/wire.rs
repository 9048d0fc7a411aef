//! The requests to EC2, and how its answers are read.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::{BehaviorVersion, Region};
use onspot_netplan::{
    Error, InboundRule, NetworkSpec, desired, destroy, diff, observe, teardown, users,
};
use onspot_reconcile::event_channel;
use wiremock::matchers::body_string_contains;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new(
            "AKIDEXAMPLE",
            "secret",
            None,
            None,
            "test",
        ))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}

/// Answers the given actions with the given bodies, and any other with nothing found.
async fn server(answers: &[(&str, &str)]) -> MockServer {
    let known: BTreeMap<String, String> = answers
        .iter()
        .map(|(action, content)| ((*action).to_owned(), (*content).to_owned()))
        .collect();
    let respond = move |request: &Request| {
        let body = String::from_utf8_lossy(&request.body);
        let action = body
            .strip_prefix("Action=")
            .and_then(|rest| rest.split('&').next());
        let action = action.unwrap_or_default();
        let content = known.get(action).map_or("", String::as_str);
        ResponseTemplate::new(200).set_body_string(format!(
            r#"<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">{content}</{action}Response>"#
        ))
    };
    let server = MockServer::start().await;
    Mock::given(body_string_contains("Action="))
        .respond_with(respond)
        .mount(&server)
        .await;
    server
}

fn tags(role: &str) -> String {
    format!(
        "<tagSet><item><key>onspot:stack</key><value>ci</value></item>
         <item><key>onspot:role</key><value>{role}</value></item></tagSet>"
    )
}

#[tokio::test]
async fn what_is_being_deleted_is_not_there() {
    let nats = ["deleting", "deleted", "failed", "pending"].map(|state| {
        let tags = tags("nat-gateway");
        format!("<item><natGatewayId>nat-{state}</natGatewayId><state>{state}</state>{tags}</item>")
    });
    let endpoints = ["deleting", "deleted", "available"].map(|state| {
        let tags = tags("s3-endpoint");
        format!(
            "<item><vpcEndpointId>vpce-{state}</vpcEndpointId><state>{state}</state>{tags}</item>"
        )
    });
    let nats = format!("<natGatewaySet>{}</natGatewaySet>", nats.concat());
    let endpoints = format!("<vpcEndpointSet>{}</vpcEndpointSet>", endpoints.concat());
    let server = server(&[
        ("DescribeNatGateways", &nats),
        ("DescribeVpcEndpoints", &endpoints),
    ])
    .await;
    let found = observe(&client(&server.uri()), "ci")
        .await
        .expect("an observation");
    let nats: Vec<_> = found.nats.iter().map(|nat| nat.id.as_str()).collect();
    let endpoints: Vec<_> = found
        .endpoints
        .iter()
        .map(|endpoint| endpoint.id.as_str())
        .collect();
    assert_eq!(
        (nats, endpoints),
        (vec!["nat-pending"], vec!["vpce-available"])
    );
    assert!(!found.nats[0].state.available);
}

#[tokio::test]
async fn a_route_to_a_gateway_that_is_gone_does_not_work() {
    let table = format!(
        "<routeTableSet><item><routeTableId>rtb-1</routeTableId>
         <routeSet>
           <item><destinationCidrBlock>10.0.0.0/16</destinationCidrBlock>
             <gatewayId>local</gatewayId><state>active</state></item>
           <item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>
             <natGatewayId>nat-1</natGatewayId><state>blackhole</state></item>
         </routeSet>
         <associationSet><item><routeTableAssociationId>rtbassoc-1</routeTableAssociationId>
           <subnetId>subnet-1</subnetId></item></associationSet>{}</item></routeTableSet>",
        tags("private-routes")
    );
    let server = server(&[("DescribeRouteTables", &table)]).await;
    let found = observe(&client(&server.uri()), "ci")
        .await
        .expect("an observation");
    let state = &found.routes[0].state;
    assert_eq!(state.default_target.as_deref(), Some("nat-1"));
    assert!(!state.default_works);
    assert_eq!(state.subnets["subnet-1"], "rtbassoc-1");
}

#[tokio::test]
async fn an_address_is_released_once_the_nat_has_let_go_of_it() {
    let addresses = format!(
        "<addressesSet><item><allocationId>eipalloc-1</allocationId>
         <publicIp>198.51.100.1</publicIp>{}</item></addressesSet>",
        tags("nat-address")
    );
    let server = server(&[("DescribeAddresses", &addresses)]).await;
    let held = "<Response><Errors><Error><Code>AuthFailure</Code>
        <Message>You do not have permission to access the specified resource.</Message>
        </Error></Errors><RequestID>1</RequestID></Response>";
    Mock::given(body_string_contains("Action=ReleaseAddress"))
        .respond_with(ResponseTemplate::new(400).set_body_string(held))
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&server)
        .await;
    let ec2 = client(&server.uri());
    let found = observe(&ec2, "ci").await.expect("an observation");
    assert_eq!(found.addresses.len(), 1, "{found:?}");
    let (events, _nobody_listens) = event_channel();
    destroy(&ec2, &teardown(&found), &events)
        .await
        .expect("the address is released");
}

#[tokio::test]
async fn who_is_in_a_zone_that_goes_is_told() {
    let instances = "<reservationSet><item><instancesSet>
        <item><instanceId>i-1</instanceId>
          <instanceState><code>16</code><name>running</name></instanceState></item>
        <item><instanceId>i-2</instanceId>
          <instanceState><code>48</code><name>terminated</name></instanceState></item>
        </instancesSet></item></reservationSet>";
    let subnets = format!(
        "<subnetSet><item><subnetId>subnet-b</subnetId>
         <cidrBlock>10.0.16.0/20</cidrBlock>
         <availabilityZone>eu-west-1b</availabilityZone>{}</item></subnetSet>",
        tags("private-eu-west-1b")
    );
    let server = server(&[
        ("DescribeInstances", instances),
        ("DescribeSubnets", &subnets),
    ])
    .await;
    let ec2 = client(&server.uri());
    let found = observe(&ec2, "ci").await.expect("an observation");
    let wanted = desired(&NetworkSpec::new("ci", "eu-west-1", ["eu-west-1a"])).expect("a network");
    let (_, later) = diff(&wanted, &found).expect("a plan").split();
    assert_eq!(later.plan().summary().delete, 1, "{}", later.plan());
    assert_eq!(users(&ec2, &later).await.expect("users"), ["i-1"]);
    let sent = server.received_requests().await.expect("recorded requests");
    let last = String::from_utf8_lossy(&sent.last().expect("a request").body).into_owned();
    assert!(
        last.contains("Filter.1.Name=subnet-id&Filter.1.Value.1=subnet-b"),
        "{last}"
    );
}

/// Answers every call that makes a network.
async fn making() -> MockServer {
    server(&[
        ("CreateVpc", "<vpc><vpcId>vpc-1</vpcId></vpc>"),
        (
            "CreateInternetGateway",
            "<internetGateway><internetGatewayId>igw-1</internetGatewayId></internetGateway>",
        ),
        (
            "CreateSubnet",
            "<subnet><subnetId>subnet-1</subnetId></subnet>",
        ),
        ("AllocateAddress", "<allocationId>eipalloc-1</allocationId>"),
        (
            "CreateNatGateway",
            "<natGateway><natGatewayId>nat-1</natGatewayId></natGateway>",
        ),
        (
            "DescribeNatGateways",
            "<natGatewaySet><item><natGatewayId>nat-1</natGatewayId><state>available</state>
             </item></natGatewaySet>",
        ),
        (
            "CreateRouteTable",
            "<routeTable><routeTableId>rtb-1</routeTableId></routeTable>",
        ),
        (
            "CreateVpcEndpoint",
            "<vpcEndpoint><vpcEndpointId>vpce-1</vpcEndpointId></vpcEndpoint>",
        ),
        ("CreateSecurityGroup", "<groupId>sg-1</groupId>"),
    ])
    .await
}

/// The requests for an action, as they went over the wire.
async fn sent(server: &MockServer, action: &str) -> Vec<String> {
    let requests = server.received_requests().await.expect("recorded requests");
    let bodies = requests
        .iter()
        .map(|request| String::from_utf8_lossy(&request.body).into_owned());
    bodies
        .filter(|body| body.starts_with(&format!("Action={action}")))
        .collect()
}

async fn make_network(server: &MockServer) {
    make_network_with(server, None).await;
}

async fn make_network_with(server: &MockServer, manager_port: Option<u16>) {
    let spec = NetworkSpec {
        manager_port,
        ..NetworkSpec::new("ci", "eu-west-1", ["eu-west-1a", "eu-west-1b"])
    };
    let wanted = desired(&spec).expect("a network");
    let plan = diff(&wanted, &onspot_netplan::Observed::default()).expect("a plan");
    let (events, _nobody_listens) = event_channel();
    onspot_netplan::apply(&client(&server.uri()), &plan, &events)
        .await
        .expect("a network");
}

#[tokio::test]
async fn every_part_is_tagged_in_the_call_that_makes_it() {
    let server = making().await;
    make_network(&server).await;
    let mut makings = sent(&server, "Create").await;
    makings.extend(sent(&server, "Allocate").await);
    // A route is a part of its table and takes no tags.
    makings.retain(|body| !body.starts_with("Action=CreateRoute&"));
    assert_eq!(makings.len(), 13, "{makings:#?}");
    for body in makings {
        assert!(
            body.contains("TagSpecification.1.ResourceType=") && body.contains("onspot%3Astack"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_repeated_request_makes_nothing_twice() {
    let server = making().await;
    for (action, code) in [
        ("CreateNatGateway", "InvalidSubnetID.NotFound"),
        ("CreateRouteTable", "InvalidVpcID.NotFound"),
        ("CreateVpcEndpoint", "InvalidVpcId.NotFound"),
    ] {
        let unknown = format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>no such thing yet</Message>
             </Error></Errors><RequestID>1</RequestID></Response>"
        );
        Mock::given(body_string_contains(format!("Action={action}")))
            .respond_with(ResponseTemplate::new(400).set_body_string(unknown))
            .up_to_n_times(1)
            .with_priority(1)
            .mount(&server)
            .await;
    }
    make_network(&server).await;
    let token = |body: &String| {
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        let mut tokens = pairs.filter(|(key, _)| *key == "ClientToken");
        tokens.next().map(|(_, token)| token.to_owned())
    };
    for action in ["CreateNatGateway", "CreateRouteTable", "CreateVpcEndpoint"] {
        let bodies = sent(&server, action).await;
        let tokens: Vec<_> = bodies.iter().map(token).collect();
        assert!(tokens[0].is_some(), "{action}: {bodies:?}");
        assert_eq!(tokens[0], tokens[1], "{action}: {bodies:?}");
    }
}

#[tokio::test]
async fn the_managers_port_is_opened_for_the_workers_group_alone() {
    let server = making().await;
    make_network(&server).await;
    let rules = "AuthorizeSecurityGroupIngress";
    assert!(sent(&server, rules).await.is_empty());
    make_network_with(&server, Some(5000)).await;
    let sent = sent(&server, rules).await;
    assert_eq!(sent.len(), 1, "{sent:#?}");
    for part in [
        "GroupId=sg-1",
        "IpPermissions.1.IpProtocol=tcp",
        "IpPermissions.1.FromPort=5000",
        "IpPermissions.1.ToPort=5000",
        "IpPermissions.1.Groups.1.GroupId=sg-1",
        "TagSpecification.1.ResourceType=security-group-rule",
        "onspot%3Astack",
    ] {
        assert!(sent[0].contains(part), "{part}: {}", sent[0]);
    }
    assert!(!sent[0].contains("IpRanges"), "{}", sent[0]);
}

/// A group of the stack with these permissions.
fn group(member: &str, permissions: &str) -> String {
    format!(
        "<item><groupId>sg-{member}</groupId><ipPermissions>{permissions}</ipPermissions>
         <ipPermissionsEgress><item><ipProtocol>-1</ipProtocol><ipRanges><item>
         <cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item></ipPermissionsEgress>{}</item>",
        tags(&format!("{member}-security-group"))
    )
}

/// One port, from these groups and from these ranges.
fn permission(port: u16, groups: &[&str], ranges: &[&str]) -> String {
    let groups = groups
        .iter()
        .map(|id| format!("<item><groupId>{id}</groupId></item>"));
    let ranges = ranges
        .iter()
        .map(|ip| format!("<item><cidrIp>{ip}</cidrIp></item>"));
    format!(
        "<item><ipProtocol>tcp</ipProtocol><fromPort>{port}</fromPort><toPort>{port}</toPort>
         <groups>{}</groups><ipRanges>{}</ipRanges></item>",
        groups.collect::<String>(),
        ranges.collect::<String>()
    )
}

#[tokio::test]
async fn what_a_group_lets_in_is_read_source_by_source() {
    let inbound = permission(5000, &["sg-worker", "sg-other"], &["10.0.0.0/8"])
        + &permission(22, &[], &["0.0.0.0/0"]);
    let groups = format!(
        "<securityGroupInfo>{}{}</securityGroupInfo>",
        group("manager", &inbound),
        group("worker", "")
    );
    let server = server(&[("DescribeSecurityGroups", &groups)]).await;
    let ec2 = client(&server.uri());
    let found = observe(&ec2, "ci").await.expect("an observation");
    let port = |from: &str| InboundRule::Port {
        port: 5000,
        from: from.to_owned(),
    };
    let other = || InboundRule::Other;
    assert_eq!(
        found.groups[0].state.inbound,
        [port("sg-worker"), port("sg-other"), other(), other()]
    );
    assert!(found.groups[1].state.inbound.is_empty());
}

#[tokio::test]
async fn a_port_that_is_no_longer_wanted_is_closed() {
    let groups = format!(
        "<securityGroupInfo>{}{}</securityGroupInfo>",
        group("worker", ""),
        group("manager", &permission(5000, &["sg-worker"], &[]))
    );
    let server = server(&[("DescribeSecurityGroups", &groups)]).await;
    let ec2 = client(&server.uri());
    let found = observe(&ec2, "ci").await.expect("an observation");
    let mut spec = NetworkSpec::new("ci", "eu-west-1", ["eu-west-1a"]);
    let is_kept = |spec: &NetworkSpec| {
        let plan = diff(&desired(spec).expect("a network"), &found).expect("a plan");
        plan.plan().summary().update == 0
    };
    assert!(!is_kept(&spec));
    spec.manager_port = Some(5000);
    assert!(is_kept(&spec));
}

#[tokio::test]
async fn a_refusal_keeps_ec2s_words() {
    let server = MockServer::start().await;
    let refusal = "<Response><Errors><Error><Code>AuthFailure</Code>
        <Message>AWS was not able to validate the provided access credentials</Message>
        </Error></Errors><RequestID>1</RequestID></Response>";
    Mock::given(body_string_contains("Action="))
        .respond_with(ResponseTemplate::new(401).set_body_string(refusal))
        .mount(&server)
        .await;
    let error = observe(&client(&server.uri()), "ci")
        .await
        .expect_err("a refusal");
    let Error::Call(call) = &error else {
        panic!("not a failed call: {error}")
    };
    assert_eq!(call.code(), Some("AuthFailure"));
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("log in again"))
    );
}
