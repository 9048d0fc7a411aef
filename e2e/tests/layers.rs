//! Each layer of a stack against LocalStack: created, kept when unchanged, changed, and removed
//! completely.

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::config::{BehaviorVersion, Region};
use onspot_cache::bucket::{self, BucketSpec};
use onspot_e2e::world::LocalStack;
use onspot_e2e::{engine, images};
use onspot_fleet::group::{self, GroupSpec, MANAGER};
use onspot_fleet::template::{self, TemplateSpec};
use onspot_fleet::{
    Ec2Fleet, FleetSpec, Instance, InstanceId, InstanceState, LaunchRequest, Lifecycle, WORKER,
};
use onspot_netplan::{Nat, NetworkSpec, Observed};
use onspot_reconcile::{EventSender, Tags, event_channel};

const STACK: &str = "layers";
const REGION: &str = "eu-west-1";
const ACCOUNT: &str = "000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_created_kept_changed_and_removed() {
    alone("bucket", async |aws, events| {
        bucket_layer(&aws_sdk_s3_client(aws), events).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_created_kept_changed_and_removed() {
    alone("network", async |aws, events| {
        network_layer(&aws_sdk_ec2::Client::new(aws), events).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_created_kept_changed_and_removed() {
    alone("fleet", async |aws, events| {
        fleet_layer(aws, &aws_sdk_ec2::Client::new(aws), events).await;
    })
    .await;
}

/// Runs a test of one layer in its own LocalStack.
async fn alone(layer: &str, test: impl AsyncFnOnce(&SdkConfig, &EventSender)) {
    let docker = engine::connect().await.expect("a Docker engine");
    images::ensure(&docker, &[images::LOCALSTACK], &mut drop)
        .await
        .expect("LocalStack's image");
    let world = format!("{layer}-{}", std::process::id());
    let localstack = LocalStack::start(&world, REGION).await.expect("LocalStack");
    let aws = clients(localstack.address());
    let (events, _nobody_listens) = event_channel();
    test(&aws, &events).await;
    localstack.remove().await.expect("LocalStack goes");
}

fn clients(address: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "layers");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(format!("http://{address}"))
        .build()
}

fn aws_sdk_s3_client(aws: &SdkConfig) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(aws)
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

async fn bucket_layer(s3: &aws_sdk_s3::Client, events: &EventSender) {
    let mut spec = BucketSpec::new(STACK, ACCOUNT, REGION);
    for cache_days in [30, 3] {
        spec.cache_days = cache_days;
        let there = bucket::observe(s3, &spec).await.expect("an observation");
        let plan = bucket::diff(&spec, there.as_ref()).expect("a plan");
        assert!(!plan.is_empty());
        bucket::apply(s3, &plan, events).await.expect("the bucket");
        let there = bucket::observe(s3, &spec).await.expect("an observation");
        let again = bucket::diff(&spec, there.as_ref()).expect("a plan");
        assert!(again.is_empty(), "left to do: {}", again.plan());
    }
    for key in ["cache/a", "run/leader"] {
        let put = s3
            .put_object()
            .bucket(&spec.name)
            .key(key)
            .body(vec![1].into());
        put.send().await.expect("an object");
    }
    let upload = s3
        .create_multipart_upload()
        .bucket(&spec.name)
        .key("cache/b");
    upload.send().await.expect("an upload");
    let there = bucket::observe(s3, &spec).await.expect("an observation");
    let plan = bucket::teardown(&spec, there.as_ref());
    bucket::destroy(s3, &plan, events).await.expect("removal");
    assert_eq!(
        bucket::observe(s3, &spec).await.expect("an observation"),
        None
    );
}

/// Creates the network with these zones and checks that nothing is left to do.
async fn make_network(
    ec2: &aws_sdk_ec2::Client,
    spec: &NetworkSpec,
    events: &EventSender,
) -> Observed {
    let desired = onspot_netplan::desired(spec).expect("a network that can be");
    let there = onspot_netplan::observe(ec2, STACK)
        .await
        .expect("an observation");
    let plan = onspot_netplan::diff(&desired, &there).expect("a plan");
    let network = onspot_netplan::apply(ec2, &plan, events)
        .await
        .expect("the network");
    let there = onspot_netplan::observe(ec2, STACK)
        .await
        .expect("an observation");
    let again = onspot_netplan::diff(&desired, &there).expect("a plan");
    assert!(again.is_empty(), "left to do: {}", again.plan());
    assert_eq!(there.network().as_ref(), Some(&network));
    assert_eq!(network.public_subnets.len(), spec.zones.len());
    assert_eq!(network.private_subnets.len(), spec.zones.len());
    there
}

async fn network_layer(ec2: &aws_sdk_ec2::Client, events: &EventSender) {
    let zones = |zones: &[&str]| NetworkSpec::new(STACK, REGION, zones.iter().copied());
    make_network(ec2, &zones(&["eu-west-1c"]), events).await;
    // The NAT gateway moves with its zone and address.
    make_network(ec2, &zones(&["eu-west-1b"]), events).await;
    make_network(ec2, &zones(&["eu-west-1b", "eu-west-1a"]), events).await;
    let without = NetworkSpec {
        nat: Nat::None,
        manager_port: Some(5000),
        ..zones(&["eu-west-1a"])
    };
    make_network(ec2, &without, events).await;
    make_network(ec2, &zones(&["eu-west-1a"]), events).await;
    let with_port = NetworkSpec {
        manager_port: Some(5000),
        ..zones(&["eu-west-1a"])
    };
    let there = make_network(ec2, &with_port, events).await;
    let plan = onspot_netplan::teardown(&there);
    onspot_netplan::destroy(ec2, &plan, events)
        .await
        .expect("removal");
    let there = onspot_netplan::observe(ec2, STACK)
        .await
        .expect("an observation");
    assert!(there.is_empty(), "left: {there:?}");
}

async fn fleet_layer(aws: &SdkConfig, ec2: &aws_sdk_ec2::Client, events: &EventSender) {
    let autoscaling = aws_sdk_autoscaling::Client::new(aws);
    let there = make_network(
        ec2,
        &NetworkSpec {
            nat: Nat::None,
            ..NetworkSpec::new(STACK, REGION, ["eu-west-1a"])
        },
        events,
    )
    .await;
    let network = there.network().expect("a network");
    let subnets: Vec<String> = network
        .instance_subnets()
        .iter()
        .map(|s| s.id.clone())
        .collect();
    let image = onspot_fleet::newest_image(ec2, "amazon", "*", "x86_64")
        .await
        .expect("an image");
    let template = |role: &str, user_data: &str| TemplateSpec {
        stack: STACK.to_owned(),
        name: format!("onspot-{STACK}-{role}"),
        spot: false,
        role: role.to_owned(),
        runner: (role == WORKER).then(|| "docker.m3".to_owned()),
        image: image.clone(),
        instance_type: (role == MANAGER).then(|| "t3.micro".to_owned()),
        disk_gb: None,
        instance_profile: STACK.to_owned(),
        security_group: network.worker_sg.clone(),
        user_data: user_data.to_owned(),
        tags: Tags::new(),
    };
    instance_profile(aws).await;

    let mut managers: Vec<InstanceId> = Vec::new();
    for user_data in ["#!/bin/sh\n", "#!/bin/sh\necho new\n"] {
        let specs = [
            template(MANAGER, user_data),
            template(WORKER, "#!/bin/sh\n"),
            template(WORKER, "#!/bin/sh\n").for_spot(),
        ];
        make_templates(ec2, &specs, events).await;
        let group = group_of(&specs[0], &subnets);
        make_group(&autoscaling, ec2, &group, events).await;
        let found = onspot_fleet::instances(ec2, STACK, Some(MANAGER))
            .await
            .expect("managers");
        managers.extend(living(&found));
    }
    managers.dedup();
    assert_eq!(managers.len(), 2, "new user-data replaces the manager");

    workers(ec2, &subnets).await;

    let group = group_of(&template(MANAGER, ""), &subnets);
    let there = group::observe(&autoscaling, ec2, STACK, &group.name)
        .await
        .expect("a group");
    let plan = group::teardown(&group, there.as_ref());
    group::destroy(&autoscaling, ec2, &plan, events)
        .await
        .expect("no group");
    onspot_fleet::terminate_all(ec2, STACK, events)
        .await
        .expect("no instance");
    let left = onspot_fleet::instances(ec2, STACK, None)
        .await
        .expect("an observation");
    assert_eq!(living(&left), []);
    let there = template::observe(ec2, STACK).await.expect("templates");
    template::apply(ec2, &template::teardown(&there), events)
        .await
        .expect("no template");
    assert!(
        template::observe(ec2, STACK)
            .await
            .expect("an observation")
            .is_empty()
    );
    let there = onspot_netplan::observe(ec2, STACK)
        .await
        .expect("an observation");
    let plan = onspot_netplan::teardown(&there);
    onspot_netplan::destroy(ec2, &plan, events)
        .await
        .expect("no network");
}

async fn make_templates(ec2: &aws_sdk_ec2::Client, specs: &[TemplateSpec], events: &EventSender) {
    let there = template::observe(ec2, STACK).await.expect("an observation");
    let plan = template::diff(specs, &there).expect("a plan");
    template::apply(ec2, &plan, events)
        .await
        .expect("templates");
    let there = template::observe(ec2, STACK).await.expect("an observation");
    let again = template::diff(specs, &there).expect("a plan");
    assert!(again.is_empty(), "left to do: {}", again.plan());
}

async fn make_group(
    autoscaling: &aws_sdk_autoscaling::Client,
    ec2: &aws_sdk_ec2::Client,
    spec: &GroupSpec,
    events: &EventSender,
) {
    let there = group::observe(autoscaling, ec2, STACK, &spec.name)
        .await
        .expect("an observation");
    let plan = group::diff(spec, there.as_ref()).expect("a plan");
    group::apply(autoscaling, ec2, &plan, events)
        .await
        .expect("a group");
    let there = group::observe(autoscaling, ec2, STACK, &spec.name)
        .await
        .expect("an observation");
    let again = group::diff(spec, there.as_ref()).expect("a plan");
    assert!(again.is_empty(), "left to do: {}", again.plan());
}

fn group_of(template: &TemplateSpec, subnets: &[String]) -> GroupSpec {
    GroupSpec {
        stack: STACK.to_owned(),
        name: template.name.clone(),
        template: template.name.clone(),
        content: template.content(),
        subnets: subnets.to_vec(),
        count: 1,
        tags: Tags::new(),
    }
}

async fn workers(ec2: &aws_sdk_ec2::Client, subnets: &[String]) {
    let spec = FleetSpec {
        stack: STACK.to_owned(),
        runner: "docker.m3".to_owned(),
        launch_template: format!("onspot-{STACK}-{WORKER}"),
        tags: Tags::new(),
        subnets: subnets.to_vec(),
        instance_types: vec!["m6i.large".to_owned(), "c6i.large".to_owned()],
        spot_max_price: None,
    };
    let fleet = Ec2Fleet::new(ec2.clone(), spec);
    for (count, lifecycle) in [(2, Lifecycle::Spot), (1, Lifecycle::OnDemand)] {
        let token = format!("layers-{lifecycle}");
        let request = LaunchRequest {
            count,
            lifecycle,
            token,
            avoid: Vec::new(),
        };
        let launched = fleet.launch(request).await.expect("a launch");
        assert_eq!(launched.instances.len(), count as usize);
    }
    let found = fleet.observe().await.expect("workers");
    let spot = found
        .iter()
        .filter(|worker| worker.pool.lifecycle == Lifecycle::Spot)
        .count();
    assert_eq!((found.len(), spot), (3, 2));
    assert!(found.iter().all(|worker| worker.pool.zone == "eu-west-1a"));
    let gone = [found[0].id.clone(), InstanceId::new("i-0123456789abcdef0")];
    fleet
        .terminate(&gone)
        .await
        .expect("one that is unknown is no error");
    assert_eq!(living(&fleet.observe().await.expect("workers")).len(), 2);
}

fn living(instances: &[Instance]) -> Vec<InstanceId> {
    let living = instances
        .iter()
        .filter(|i| i.state != InstanceState::Terminated);
    living.map(|instance| instance.id.clone()).collect()
}

/// LocalStack requires that a template's instance profile exists.
async fn instance_profile(aws: &SdkConfig) {
    let iam = aws_sdk_iam::Client::new(aws);
    let profile = iam.create_instance_profile().instance_profile_name(STACK);
    profile.send().await.expect("an instance profile");
    let role = iam
        .create_role()
        .role_name(STACK)
        .assume_role_policy_document("{}");
    role.send().await.expect("a role");
    let add = iam
        .add_role_to_instance_profile()
        .instance_profile_name(STACK)
        .role_name(STACK);
    add.send().await.expect("a role in the profile");
}
