//! Every call that creates a resource of a stack also tags it with onspot's and the owner's tags,
//! because an organisation's policy may forbid untagged resources. This test makes all layers
//! against an AWS that accepts everything, and checks each call.

use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use onspot_fleet::{Ec2Fleet, FleetSpec, LaunchRequest, Lifecycle, group, template};
use onspot_reconcile::event_channel;
use url::{Url, form_urlencoded};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::graph::{Foundation, Observed};
use super::iam;
use crate::Clients;
use crate::instances::images::Images;
use crate::instances::launch::Ingredients;
use crate::names::Names;
use crate::program::{Binary, Program};
use crate::spec::Spec;
use crate::verbs::prepare;

const SPEC: &str = r#"
name = "ci"
[tags]
CostCenter = "ci 42"
[manager]
ami = "ami-1"
[[runners]]
name = "a"
url = "https://gitlab.com"
token = "glrt-x"
[runners.workers]
ami = "ami-1"
"#;

/// The calls that create something, and the kinds of resources that each tags (none if the call
/// creates one kind only). Add new calls here, or to [`UNTAGGED`] with the reason.
const TAGGED: [(&str, &[&str]); 17] = [
    ("CreateVpc", &["vpc"]),
    ("CreateInternetGateway", &["internet-gateway"]),
    ("CreateSubnet", &["subnet"]),
    ("AllocateAddress", &["elastic-ip"]),
    ("CreateNatGateway", &["natgateway"]),
    ("CreateRouteTable", &["route-table"]),
    ("CreateVpcEndpoint", &["vpc-endpoint"]),
    ("CreateSecurityGroup", &["security-group"]),
    (
        "CreateLaunchTemplate",
        &["launch-template", "instance", "volume", "network-interface"],
    ),
    ("CreateFleet", &["fleet", "instance", "volume"]),
    ("CreateAutoScalingGroup", &[]),
    ("CreateBucket", &[]),
    ("CreateRole", &[]),
    ("CreateInstanceProfile", &[]),
    ("PutParameter", &[]),
    ("CreateLogGroup", &[]),
    // `up` makes one in an existing network: see `netplan`'s tests for the calls.
    ("AuthorizeSecurityGroupIngress", &["security-group-rule"]),
];

/// The calls that create something without tags, and why.
const UNTAGGED: [(&str, &str); 2] = [
    (
        "CreateRoute",
        "a route is a part of its table and takes none",
    ),
    (
        "CreateServiceLinkedRole",
        "it is AWS's and the account's, not the stack's, and takes none",
    ),
];

/// An AWS that accepts every call and records it.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Vec<(String, String)>>>);

impl Respond for Fake {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let target = request.headers.get("x-amz-target");
        let action = target.and_then(|target| target.to_str().ok()?.rsplit('.').next());
        let form: Vec<(String, String)> =
            form_urlencoded::parse(&request.body).into_owned().collect();
        let queried = form
            .iter()
            .find(|(key, _)| key == "Action")
            .map(|(_, action)| action);
        let made = |text: String| ResponseTemplate::new(200).set_body_string(text);
        let (action, answer) = match (action, queried) {
            (Some(action), _) => (action.to_owned(), made(json(action))),
            (None, Some(action)) => {
                let created = self.has("CreateAutoScalingGroup");
                let content = xml(action, created);
                let answer = format!("<{action}Response>{content}</{action}Response>");
                (action.clone(), made(answer))
            }
            // S3: the bucket's first call has no query.
            (None, None) if request.method == "PUT" && request.url.query().is_none() => {
                ("CreateBucket".to_owned(), made(String::new()))
            }
            (None, None) => ("S3".to_owned(), made(String::new())),
        };
        let written = match queried {
            Some(_) => {
                let pairs = form.iter().map(|(key, value)| format!("{key}={value}"));
                pairs.collect::<Vec<_>>().join("\n")
            }
            None => body,
        };
        self.0.lock().push((action, written));
        answer
    }
}

impl Fake {
    fn has(&self, action: &str) -> bool {
        self.0.lock().iter().any(|(made, _)| made == action)
    }
}

fn json(action: &str) -> String {
    match action {
        "GetParameter" => r#"{"Parameter":{"Value":"ami-1"}}"#.to_owned(),
        _ => "{}".to_owned(),
    }
}

fn xml(action: &str, group_is_made: bool) -> String {
    let group =
        "<member><AutoScalingGroupName>onspot-ci-manager</AutoScalingGroupName><MinSize>1</MinSize>
        <MaxSize>1</MaxSize><DesiredCapacity>1</DesiredCapacity><Instances><member>
        <InstanceId>i-1</InstanceId><HealthStatus>Healthy</HealthStatus>
        <LifecycleState>InService</LifecycleState></member></Instances></member>";
    let role = "<Role><Path>/</Path><RoleName>r</RoleName><RoleId>AROA1</RoleId><Arn>a</Arn>
        <CreateDate>2026-11-28T00:00:00Z</CreateDate></Role>";
    match action {
        "CreateVpc" => "<vpc><vpcId>vpc-1</vpcId></vpc>",
        "CreateInternetGateway" => {
            "<internetGateway><internetGatewayId>igw-1</internetGatewayId></internetGateway>"
        }
        "CreateSubnet" => "<subnet><subnetId>subnet-1</subnetId></subnet>",
        "AllocateAddress" => "<allocationId>eipalloc-1</allocationId>",
        "CreateNatGateway" => "<natGateway><natGatewayId>nat-1</natGatewayId></natGateway>",
        "DescribeNatGateways" => {
            "<natGatewaySet><item><natGatewayId>nat-1</natGatewayId><state>available</state></item>
             </natGatewaySet>"
        }
        "CreateRouteTable" => "<routeTable><routeTableId>rtb-1</routeTableId></routeTable>",
        "CreateVpcEndpoint" => "<vpcEndpoint><vpcEndpointId>vpce-1</vpcEndpointId></vpcEndpoint>",
        "CreateSecurityGroup" => "<groupId>sg-1</groupId>",
        "DescribeImages" => {
            "<imagesSet><item><imageId>ami-1</imageId><rootDeviceName>/dev/xvda</rootDeviceName>
             </item></imagesSet>"
        }
        "CreateLaunchTemplate" => {
            "<launchTemplate><launchTemplateId>lt-1</launchTemplateId></launchTemplate>"
        }
        "DescribeLaunchTemplates" => {
            "<launchTemplates><item><launchTemplateId>lt-1</launchTemplateId>
             <launchTemplateName>onspot-ci-manager</launchTemplateName></item></launchTemplates>"
        }
        "DescribeLaunchTemplateVersions" => {
            "<launchTemplateVersionSet><item><launchTemplateId>lt-1</launchTemplateId>
             <versionNumber>1</versionNumber><defaultVersion>true</defaultVersion></item>
             </launchTemplateVersionSet>"
        }
        "DescribeAutoScalingGroups" => {
            let groups = if group_is_made { group } else { "" };
            return format!(
                "<DescribeAutoScalingGroupsResult><AutoScalingGroups>{groups}</AutoScalingGroups>
                 </DescribeAutoScalingGroupsResult>"
            );
        }
        "CreateRole" | "CreateServiceLinkedRole" => {
            return format!("<{action}Result>{role}</{action}Result>");
        }
        "CreateInstanceProfile" => {
            "<CreateInstanceProfileResult><InstanceProfile><Path>/</Path>
             <InstanceProfileName>r</InstanceProfileName><InstanceProfileId>AIPA1</InstanceProfileId>
             <Arn>a</Arn><CreateDate>2026-11-28T00:00:00Z</CreateDate><Roles/></InstanceProfile>
             </CreateInstanceProfileResult>"
        }
        _ => "",
    }
    .to_owned()
}

fn clients(server: &MockServer) -> Clients {
    let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .endpoint_url(server.uri())
        .build();
    let url = Url::parse(&server.uri()).unwrap();
    Clients::new(
        &config,
        "eu-west-1".to_owned(),
        Some(url),
        "123456789012".to_owned(),
    )
}

/// Makes a whole stack, and a worker on spot and one on demand.
async fn make(spec: &Spec, clients: &Clients) {
    let (events, _nobody_listens) = event_channel();
    let names = Names::new(&spec.name, "eu-west-1").unwrap();
    let nothing = Observed {
        network: onspot_netplan::Observed::default(),
        bucket: None,
        iam: iam::Observed::default(),
        tokens: BTreeMap::new(),
        log_group: None,
        templates: BTreeMap::new(),
        group: None,
        instances: Vec::new(),
    };
    let tokens = prepare::tokens(spec, clients, &names).await.unwrap();
    let parameters = prepare::parameters_of(&tokens);
    let zones = ["eu-west-1a".to_owned()];
    let foundation = Foundation::diff(spec, clients, &names, &zones, &parameters, &nothing);
    let ground = foundation.unwrap().apply(clients, &events).await.unwrap();
    let binary = Binary::load(std::path::Path::new("/bin/sh")).unwrap();
    let program = Program {
        binary,
        helper: None,
    };
    let images = Images::resolve(clients, spec).await.unwrap();
    let ingredients = Ingredients {
        spec,
        clients,
        names: &names,
        program: &program,
        images: &images,
        network: &ground.network,
        role_ids: &ground.role_ids,
    };
    let templates = ingredients.templates().unwrap();
    let plan = template::diff(&templates, &nothing.templates).unwrap();
    template::apply(&clients.ec2, &plan, &events).await.unwrap();
    let plan = group::diff(&ingredients.group(&templates[0]), None).unwrap();
    group::apply(&clients.autoscaling, &clients.ec2, &plan, &events)
        .await
        .unwrap();

    let settings = ingredients.manager_settings();
    let fleet = FleetSpec::of(&settings, &settings.runners[0]);
    let fleet = Ec2Fleet::new(clients.ec2.clone(), fleet);
    for lifecycle in [Lifecycle::Spot, Lifecycle::OnDemand] {
        let request = LaunchRequest {
            count: 1,
            lifecycle,
            token: lifecycle.to_string(),
            avoid: Vec::new(),
        };
        fleet.launch(request).await.unwrap();
    }
}

/// Whether a call's action makes something that stays.
fn makes(action: &str) -> bool {
    [
        "Create",
        "Allocate",
        "Authorize",
        "Run",
        "Request",
        "PutParameter",
    ]
    .iter()
    .any(|verb| action.starts_with(verb))
        && !["CreateTags", "CreateOrUpdateTags"].contains(&action)
}

/// The kinds that an EC2 call tags, each with the tags.
fn tagged_kinds(body: &str) -> BTreeMap<&str, String> {
    let mut kinds = BTreeMap::new();
    for line in body.lines() {
        if let Some((key, kind)) = line.split_once('=')
            && let Some(prefix) = key.strip_suffix("ResourceType")
        {
            let own = body.lines().filter(|line| line.starts_with(prefix));
            kinds.insert(kind, own.collect::<Vec<_>>().join("\n"));
        }
    }
    kinds
}

#[tokio::test]
async fn whatever_is_made_is_tagged_in_the_call_that_makes_it() {
    let (server, fake) = (MockServer::start().await, Fake::default());
    Mock::given(any())
        .respond_with(fake.clone())
        .mount(&server)
        .await;
    let clients = clients(&server);
    let spec = Spec::parse(SPEC, "onspot.toml").unwrap();
    make(&spec, &clients).await;

    let calls = fake.0.lock().clone();
    let mut seen = BTreeSet::new();
    for (action, body) in calls.iter().filter(|(action, _)| makes(action)) {
        seen.insert(action.as_str());
        if UNTAGGED.iter().any(|(untagged, _)| untagged == action) {
            continue;
        }
        let (_, kinds) = TAGGED
            .iter()
            .find(|(tagged, _)| tagged == action)
            .unwrap_or_else(|| panic!("{action} makes something that nobody tags: {body}"));
        let complete = |text: &str| {
            let all = ["onspot:stack", "CostCenter", "ci 42", "onspot:tags"];
            all.iter().all(|part| text.contains(part))
        };
        assert!(complete(body), "{action}: {body}");
        let found = tagged_kinds(body);
        for kind in *kinds {
            let tags = found.get(kind);
            assert!(
                tags.is_some_and(|tags| complete(tags)),
                "{action}, {kind}: {body}"
            );
        }
        let is_spot = action == "CreateLaunchTemplate" && body.contains("onspot-ci-a.spot");
        let requests = found.get("spot-instances-request");
        assert_eq!(
            requests.is_some_and(|tags| complete(tags)),
            is_spot,
            "{action}: {body}"
        );
        if action == "CreateAutoScalingGroup" {
            // The group tags its instances, whose launch template tags their volumes.
            assert!(!body.contains("PropagateAtLaunch=false"), "{body}");
        }
    }
    let expected = TAGGED.iter().map(|(action, _)| *action);
    let expected = expected.filter(|action| !action.starts_with("Authorize"));
    let missing: Vec<_> = expected.filter(|action| !seen.contains(action)).collect();
    assert!(missing.is_empty(), "never called: {missing:?}");
}
