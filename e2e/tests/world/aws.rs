//! The contents of LocalStack, read without going through the proxy.

use std::collections::BTreeSet;

use aws_config::SdkConfig;
use onspot_e2e::world::World;

/// Everything in the account that a stack could have created, one line each.
pub(crate) async fn inventory(world: &World) -> BTreeSet<String> {
    let aws = world.aws_behind_the_proxy();
    let mut found = BTreeSet::new();
    found.extend(network(&aws).await);
    found.extend(instances(&aws).await);
    found.extend(roles(&aws).await);
    found.extend(others(&aws).await);
    found.extend(
        s3_client(&aws)
            .list_buckets()
            .send()
            .await
            .expect("buckets")
            .buckets()
            .iter()
            .map(|bucket| format!("bucket {}", bucket.name().unwrap_or_default())),
    );
    found
}

async fn network(aws: &SdkConfig) -> Vec<String> {
    let ec2 = aws_sdk_ec2::Client::new(aws);
    let mut found = Vec::new();
    let mut add = |kind: &str, id: Option<&str>| {
        found.push(format!("{kind} {}", id.unwrap_or_default()));
    };
    for vpc in ec2.describe_vpcs().send().await.expect("VPCs").vpcs() {
        add("vpc", vpc.vpc_id());
    }
    for subnet in ec2
        .describe_subnets()
        .send()
        .await
        .expect("subnets")
        .subnets()
    {
        add("subnet", subnet.subnet_id());
    }
    let gateways = ec2
        .describe_internet_gateways()
        .send()
        .await
        .expect("gateways");
    for gateway in gateways.internet_gateways() {
        add("internet gateway", gateway.internet_gateway_id());
    }
    let nats = ec2
        .describe_nat_gateways()
        .send()
        .await
        .expect("NAT gateways");
    for nat in nats.nat_gateways() {
        if nat.state().is_none_or(|state| state.as_str() != "deleted") {
            add("NAT gateway", nat.nat_gateway_id());
        }
    }
    let addresses = ec2.describe_addresses().send().await.expect("addresses");
    for address in addresses.addresses() {
        add("address", address.allocation_id());
    }
    let tables = ec2
        .describe_route_tables()
        .send()
        .await
        .expect("route tables");
    for table in tables.route_tables() {
        add("route table", table.route_table_id());
    }
    let groups = ec2
        .describe_security_groups()
        .send()
        .await
        .expect("security groups");
    for group in groups.security_groups() {
        add("security group", group.group_id());
    }
    let endpoints = ec2
        .describe_vpc_endpoints()
        .send()
        .await
        .expect("endpoints");
    for endpoint in endpoints.vpc_endpoints() {
        let state = endpoint.state().map(|state| state.as_str().to_lowercase());
        if state.is_none_or(|state| state != "deleted") {
            add("endpoint", endpoint.vpc_endpoint_id());
        }
    }
    found
}

async fn instances(aws: &SdkConfig) -> Vec<String> {
    let ec2 = aws_sdk_ec2::Client::new(aws);
    let mut found = Vec::new();
    let listed = ec2.describe_instances().send().await.expect("instances");
    for instance in listed
        .reservations()
        .iter()
        .flat_map(aws_sdk_ec2::types::Reservation::instances)
    {
        let state = instance.state().and_then(|state| state.name());
        if state.is_none_or(|state| state.as_str() != "terminated") {
            found.push(format!(
                "instance {}",
                instance.instance_id().unwrap_or_default()
            ));
        }
    }
    let templates = ec2
        .describe_launch_templates()
        .send()
        .await
        .expect("templates");
    for template in templates.launch_templates() {
        let name = template.launch_template_name().unwrap_or_default();
        found.push(format!("launch template {name}"));
    }
    let keys = ec2.describe_key_pairs().send().await.expect("key pairs");
    for key in keys.key_pairs() {
        found.push(format!("key pair {}", key.key_name().unwrap_or_default()));
    }
    let autoscaling = aws_sdk_autoscaling::Client::new(aws);
    let groups = autoscaling
        .describe_auto_scaling_groups()
        .send()
        .await
        .expect("groups");
    for group in groups.auto_scaling_groups() {
        let name = group.auto_scaling_group_name().unwrap_or_default();
        found.push(format!("Auto Scaling group {name}"));
    }
    found
}

async fn roles(aws: &SdkConfig) -> Vec<String> {
    let iam = aws_sdk_iam::Client::new(aws);
    let mut found = Vec::new();
    for role in iam.list_roles().send().await.expect("roles").roles() {
        // AWS's own role, which the first `up` in an account creates and `down` leaves.
        if !role.path().starts_with("/aws-service-role/") {
            found.push(format!("role {}", role.role_name()));
        }
    }
    let profiles = iam.list_instance_profiles().send().await.expect("profiles");
    for profile in profiles.instance_profiles() {
        found.push(format!(
            "instance profile {}",
            profile.instance_profile_name()
        ));
    }
    for user in iam.list_users().send().await.expect("users").users() {
        found.push(format!("user {}", user.user_name()));
    }
    found
}

async fn others(aws: &SdkConfig) -> Vec<String> {
    let mut found = Vec::new();
    let ssm = aws_sdk_ssm::Client::new(aws);
    let parameters = ssm.describe_parameters().send().await.expect("parameters");
    for parameter in parameters.parameters() {
        found.push(format!(
            "parameter {}",
            parameter.name().unwrap_or_default()
        ));
    }
    let logs = aws_sdk_cloudwatchlogs::Client::new(aws);
    let groups = logs.describe_log_groups().send().await.expect("log groups");
    for group in groups.log_groups() {
        found.push(format!(
            "log group {}",
            group.log_group_name().unwrap_or_default()
        ));
    }
    found
}

/// The keys below `prefix` in the stack's bucket.
pub(crate) async fn objects(world: &World, prefix: &str) -> Vec<String> {
    let s3 = s3_client(&world.aws_behind_the_proxy());
    let buckets = s3.list_buckets().send().await.expect("buckets");
    let [bucket] = buckets.buckets() else {
        panic!("not one bucket: {:?}", buckets.buckets());
    };
    let name = bucket.name().unwrap_or_default();
    let listed = s3
        .list_objects_v2()
        .bucket(name)
        .prefix(prefix)
        .send()
        .await;
    let listed = listed.expect("objects");
    let keys = listed.contents().iter().filter_map(|object| object.key());
    keys.map(str::to_owned).collect()
}

fn s3_client(aws: &SdkConfig) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(aws)
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
