//! Launch templates: what they are made of, and which workers were launched from another one.

use onspot_fleet::template::{self, CONTENT, TemplateSpec};
use onspot_fleet::{Image, Instance};
use onspot_reconcile::{Tags, event_channel};

use super::*;

fn spec() -> TemplateSpec {
    TemplateSpec {
        stack: "ci".to_owned(),
        name: "onspot-ci-docker-m3".to_owned(),
        spot: false,
        role: "worker".to_owned(),
        runner: Some("docker.m3".to_owned()),
        image: Image {
            id: "ami-1".to_owned(),
            name: "al2023".to_owned(),
            architecture: "x86_64".to_owned(),
            root_device: "/dev/xvda".to_owned(),
            root_gb: 8,
        },
        instance_type: None,
        disk_gb: Some(40),
        instance_profile: "onspot-ci-worker".to_owned(),
        security_group: "sg-1".to_owned(),
        user_data: "#!/bin/sh\n".to_owned(),
        tags: Tags::new(),
    }
}

/// A version as EC2 returns it, with this image and the given content in its tags and description.
fn version(number: u32, is_default: bool, image: &str, content: &str) -> String {
    let tags = spec().instance_tags().with(CONTENT, content);
    let tags: Vec<String> = tags
        .iter()
        .map(|(key, value)| format!("<item><key>{key}</key><value>{value}</value></item>"))
        .collect();
    let tags = tags.concat();
    format!(
        "<item><launchTemplateId>lt-1</launchTemplateId>
         <launchTemplateName>onspot-ci-docker-m3</launchTemplateName>
         <versionNumber>{number}</versionNumber><defaultVersion>{is_default}</defaultVersion>
         <versionDescription>{CONTENT}={content}</versionDescription>
         <launchTemplateData><imageId>{image}</imageId>
           <iamInstanceProfile><name>onspot-ci-worker</name></iamInstanceProfile>
           <securityGroupIdSet><item>sg-1</item></securityGroupIdSet>
           <userData>IyEvYmluL3NoCg==</userData>
           <instanceInitiatedShutdownBehavior>terminate</instanceInitiatedShutdownBehavior>
           <metadataOptions><state>applied</state><httpTokens>required</httpTokens>
             <httpPutResponseHopLimit>1</httpPutResponseHopLimit></metadataOptions>
           <blockDeviceMappingSet><item><deviceName>/dev/xvda</deviceName><ebs>
             <encrypted>true</encrypted><volumeSize>40</volumeSize><volumeType>gp3</volumeType>
             </ebs></item></blockDeviceMappingSet>
           <tagSpecificationSet><item><resourceType>instance</resourceType>
             <tagSet>{tags}</tagSet></item></tagSpecificationSet>
         </launchTemplateData></item>"
    )
}

async fn versions(server: &MockServer, versions: &[String]) {
    let tags = [
        "Name:onspot-ci-docker-m3",
        "onspot:role:worker",
        "onspot:stack:ci",
    ];
    let tags = tags.map(|tag| {
        let (key, value) = tag.rsplit_once(':').expect("a tag");
        format!("<item><key>{key}</key><value>{value}</value></item>")
    });
    let tags = tags.concat();
    let namespace = r#"xmlns="http://ec2.amazonaws.com/doc/2016-11-15/""#;
    let versions = versions.concat();
    let template = format!(
        "<DescribeLaunchTemplatesResponse {namespace}><launchTemplates><item>
         <launchTemplateId>lt-1</launchTemplateId>
         <launchTemplateName>onspot-ci-docker-m3</launchTemplateName>
         <tagSet>{tags}</tagSet></item></launchTemplates>
         </DescribeLaunchTemplatesResponse>"
    );
    answer(server, "DescribeLaunchTemplates", &template).await;
    let versions = format!(
        "<DescribeLaunchTemplateVersionsResponse {namespace}>
         <launchTemplateVersionSet>{versions}</launchTemplateVersionSet>
         </DescribeLaunchTemplateVersionsResponse>"
    );
    Mock::given(body_string_contains(
        "Action=DescribeLaunchTemplateVersions&",
    ))
    .respond_with(ResponseTemplate::new(200).set_body_string(versions))
    .up_to_n_times(1)
    .with_priority(1)
    .mount(server)
    .await;
}

/// A worker that was launched from this version, or without one that has only onspot's own tag.
fn worker(id: &str, version: Option<u32>, content: &str) -> Instance {
    let mut tags = Tags::of_stack("ci").with(CONTENT, content);
    if let Some(version) = version {
        tags = tags
            .with("aws:ec2launchtemplate:id", "lt-1")
            .with("aws:ec2launchtemplate:version", version.to_string());
    }
    Instance {
        id: InstanceId::from(id),
        pool: pool("m6i.large", "eu-west-1a"),
        state: InstanceState::Running,
        launched_at: jiff::Timestamp::UNIX_EPOCH,
        reason: None,
        private_ip: None,
        tags,
        outdated: false,
    }
}

async fn outdated(fleet: &Ec2Fleet, workers: &[Instance]) -> Vec<String> {
    let outdated = fleet.outdated(workers).await.expect("a comparison");
    outdated.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_version_as_onspot_makes_it_is_as_wanted() {
    let server = MockServer::start().await;
    versions(&server, &[version(1, true, "ami-1", &spec().content().0)]).await;
    let found = template::observe(&client(&server.uri()), "ci").await;
    let plan = template::diff(&[spec()], &found.expect("templates")).expect("a plan");
    assert!(plan.is_empty(), "{}", plan.plan());
}

#[tokio::test]
async fn a_template_that_was_edited_in_place_gets_a_new_version() {
    let server = MockServer::start().await;
    let content = spec().content().0;
    let edited = version(2, true, "ami-of-somebody", &content);
    versions(&server, &[version(1, false, "ami-1", &content), edited]).await;
    let found = template::observe(&client(&server.uri()), "ci").await;
    let plan = template::diff(&[spec()], &found.expect("templates")).expect("a plan");
    let text = plan.plan().to_string();
    assert!(!plan.is_empty(), "{text}");
    assert!(text.contains("ami-of-somebody"), "{text}");
}

#[tokio::test]
async fn a_worker_of_another_content_is_outdated_whatever_its_tags_and_descriptions_say() {
    let server = MockServer::start().await;
    let versions_there = [
        version(1, false, "ami-1", "a"),
        version(2, false, "ami-of-somebody", "a"),
        version(3, true, "ami-1", "a"),
    ];
    versions(&server, &versions_there).await;
    let workers = [
        worker("i-same-content", Some(1), "a"),
        worker("i-edited", Some(2), "a"),
        worker("i-new", Some(3), "a"),
        worker("i-tag-only", None, "a"),
        worker("i-tag-differs", None, "b"),
    ];
    let fleet = fleet(&server.uri());
    assert_eq!(
        outdated(&fleet, &workers).await,
        ["i-edited", "i-tag-differs"]
    );
}

#[tokio::test]
async fn a_worker_of_a_version_that_was_just_made_is_not_outdated() {
    let server = MockServer::start().await;
    versions(&server, &[version(1, true, "ami-1", "a")]).await;
    let (fleet, old) = (fleet(&server.uri()), worker("i-old", Some(1), "a"));
    assert!(
        outdated(&fleet, std::slice::from_ref(&old))
            .await
            .is_empty()
    );
    // `up` makes another version, and a worker is launched from it before this fleet has noticed.
    let now = [
        version(1, false, "ami-1", "a"),
        version(2, true, "ami-2", "b"),
    ];
    versions(&server, &now).await;
    let workers = [old, worker("i-new", Some(2), "b")];
    assert_eq!(outdated(&fleet, &workers).await, ["i-old"]);
}

/// Answers `DescribeLaunchTemplateVersions` for the template of this id with one version.
async fn one_version(server: &MockServer, id: &str, body: String) {
    Mock::given(body_string_contains(format!("LaunchTemplateId={id}&")))
        .respond_with(ResponseTemplate::new(200).set_body_string(format!(
            r#"<DescribeLaunchTemplateVersionsResponse
               xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><launchTemplateVersionSet>{body}
               </launchTemplateVersionSet></DescribeLaunchTemplateVersionsResponse>"#
        )))
        .mount(server)
        .await;
}

#[tokio::test]
async fn each_worker_is_compared_with_its_own_template() {
    let server = MockServer::start().await;
    one_version(&server, "lt-1", version(1, true, "ami-1", "a")).await;
    let of_spot = [
        version(1, false, "ami-0", "a"),
        version(4, true, "ami-1", "a"),
    ];
    one_version(&server, "lt-spot", of_spot.concat()).await;
    let gone = "<Response><Errors><Error><Code>InvalidLaunchTemplateId.NotFound</Code>
        <Message>no such template</Message></Error></Errors><RequestID>1</RequestID></Response>";
    Mock::given(body_string_contains("LaunchTemplateId=lt-gone&"))
        .respond_with(ResponseTemplate::new(400).set_body_string(gone))
        .mount(&server)
        .await;
    let of = |id: &str, template: &str, number: u32| {
        let mut worker = worker(id, Some(number), "a");
        worker.tags = worker.tags.with("aws:ec2launchtemplate:id", template);
        worker
    };
    let workers = [
        of("i-on-demand", "lt-1", 1),
        of("i-spot", "lt-spot", 4),
        of("i-spot-old", "lt-spot", 1),
        of("i-of-none", "lt-gone", 1),
        worker("i-tag-only", None, "a"),
    ];
    let fleet = fleet(&server.uri());
    let outdated = outdated(&fleet, &workers).await;
    assert_eq!(outdated, ["i-of-none", "i-spot-old"]);
}

#[tokio::test]
async fn spot_requests_are_tagged_by_a_template_that_only_spot_launches_name() {
    let server = MockServer::start().await;
    let made = r#"<CreateLaunchTemplateResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <launchTemplate><launchTemplateId>lt-1</launchTemplateId></launchTemplate>
        </CreateLaunchTemplateResponse>"#;
    answer(&server, "CreateLaunchTemplate", made).await;
    answer(&server, "DescribeSubnets", SUBNETS).await;
    answer(&server, "CreateFleet", FLEET).await;
    let specs = [spec(), spec().for_spot()];
    let plan = template::diff(&specs, &std::collections::BTreeMap::new()).expect("a plan");
    let (events, _nobody_listens) = event_channel();
    let ec2 = client(&server.uri());
    template::apply(&ec2, &plan, &events)
        .await
        .expect("templates");
    let fleet = fleet(&server.uri());
    for lifecycle in [Lifecycle::OnDemand, Lifecycle::Spot] {
        let request = LaunchRequest {
            lifecycle,
            ..request(Vec::new())
        };
        fleet.launch(request).await.expect("a launch");
    }
    let sent = server.received_requests().await.expect("recorded requests");
    let sent = sent
        .iter()
        .map(|request| String::from_utf8_lossy(&request.body).into_owned());
    let (makings, launches): (Vec<_>, Vec<_>) = sent
        .filter(|body| !body.starts_with("Action=Describe"))
        .partition(|body| body.starts_with("Action=CreateLaunchTemplate"));
    for bodies in [&makings, &launches] {
        let of_spot = bodies
            .iter()
            .map(|body| body.contains("onspot-ci-docker-m3.spot"));
        assert_eq!(of_spot.collect::<Vec<_>>(), [false, true]);
    }
    let tagging = makings
        .iter()
        .map(|body| body.contains("ResourceType=spot-instances-request"));
    assert_eq!(tagging.collect::<Vec<_>>(), [false, true]);
    for body in &launches {
        assert!(!body.contains("spot-instances-request"), "{body}");
        assert_eq!(
            body.matches("cost-center").count(),
            6,
            "three kinds, and their notes: {body}"
        );
    }
}

#[tokio::test]
async fn a_template_tags_itself_and_all_that_comes_with_its_instances() {
    let server = MockServer::start().await;
    let made = r#"<CreateLaunchTemplateResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
        <launchTemplate><launchTemplateId>lt-1</launchTemplateId></launchTemplate>
        </CreateLaunchTemplateResponse>"#;
    answer(&server, "CreateLaunchTemplate", made).await;
    let plan = template::diff(&[spec()], &std::collections::BTreeMap::new()).expect("a plan");
    let (events, _nobody_listens) = event_channel();
    template::apply(&client(&server.uri()), &plan, &events)
        .await
        .expect("a template");
    let sent = server.received_requests().await.expect("recorded requests");
    let body = String::from_utf8_lossy(&sent[0].body).into_owned();
    for kind in ["instance", "volume", "network-interface", "launch-template"] {
        assert!(
            body.contains(&format!("ResourceType={kind}")),
            "{kind}: {body}"
        );
    }
    assert_eq!(body.matches("onspot%3Astack").count(), 4, "{body}");
    assert!(body.contains("ClientToken="), "{body}");
}
