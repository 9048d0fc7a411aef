//! The hypervisor's access to AWS: directly to LocalStack, so that its calls are not recorded.

use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials as SdkCredentials;
use aws_sdk_ec2::types::{InstanceAttributeName, InstanceStateName};
use base64::Engine;
use jiff::Timestamp;

use crate::cloud::{Credential, Principal};
use crate::{Error, Result};

/// An instance as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// The image it was launched from.
    pub ami: String,
    /// `t3.small`, ….
    pub instance_type: String,
    /// Its availability zone.
    pub zone: String,
    /// `running`, `terminated`, ….
    pub state: String,
    /// Its address in its subnet.
    pub private_ip: String,
    /// Whether it is a spot instance.
    pub spot: bool,
    /// The name of its instance profile.
    pub profile: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it was launched.
    pub launched_at: Timestamp,
}

impl Instance {
    /// Whether it should have a guest.
    pub fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "pending" | "running")
    }

    /// A tag's value, or the empty string.
    pub fn tag(&self, key: &str) -> &str {
        self.tags.get(key).map_or("", String::as_str)
    }
}

/// The role of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The instance profile's ARN.
    pub profile_arn: String,
    /// The instance profile's id.
    pub profile_id: String,
}

/// The clients.
#[derive(Debug, Clone)]
pub struct Ec2 {
    instances: aws_sdk_ec2::Client,
    iam: aws_sdk_iam::Client,
    sts: aws_sdk_sts::Client,
}

/// The SDK configuration for an endpoint with static credentials.
pub fn sdk_config(endpoint: &str, region: &str, credential: &Credential) -> SdkConfig {
    let credentials = SdkCredentials::new(
        credential.access_key.clone(),
        credential.secret_key.clone(),
        credential.session_token.clone(),
        None,
        "onspot-world",
    );
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(
            aws_credential_types::provider::SharedCredentialsProvider::new(credentials),
        )
        .build()
}

impl Ec2 {
    /// Clients for the LocalStack at `endpoint`.
    pub fn connect(endpoint: &str, region: &str) -> Self {
        let config = sdk_config(endpoint, region, &Credential::operator());
        Self {
            instances: aws_sdk_ec2::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            sts: aws_sdk_sts::Client::new(&config),
        }
    }

    /// Registers a machine image with EC2 and returns its id. What boots is always the guest's
    /// image.
    pub async fn register_image(&self, name: &str) -> Result<String> {
        let root = aws_sdk_ec2::types::BlockDeviceMapping::builder()
            .device_name("/dev/xvda")
            .ebs(
                aws_sdk_ec2::types::EbsBlockDevice::builder()
                    .volume_size(8)
                    .build(),
            )
            .build();
        let answer = self
            .instances
            .register_image()
            .name(name)
            .description("What the hypervisor's guests run")
            .architecture(aws_sdk_ec2::types::ArchitectureValues::X8664)
            .root_device_name("/dev/xvda")
            .block_device_mappings(root)
            .send()
            .await
            .map_err(Error::aws(format!("register the machine image {name}")))?;
        answer
            .image_id
            .ok_or_else(|| Error::Other(format!("the machine image {name} got no id")))
    }

    /// All instances, including terminated ones while EC2 lists them.
    pub async fn instances(&self) -> Result<Vec<Instance>> {
        let pages = self
            .instances
            .describe_instances()
            .into_paginator()
            .items()
            .send();
        let reservations = pages
            .collect::<Result<Vec<_>, _>>()
            .await
            .map_err(Error::aws("list the instances"))?;
        let found = reservations
            .into_iter()
            .flat_map(|reservation| reservation.instances.unwrap_or_default());
        Ok(found.filter_map(instance).collect())
    }

    /// The boot script, decoded.
    pub async fn user_data(&self, instance: &str) -> Result<Option<Vec<u8>>> {
        let answer = self
            .instances
            .describe_instance_attribute()
            .instance_id(instance)
            .attribute(InstanceAttributeName::UserData)
            .send()
            .await
            .map_err(Error::aws(format!("read the user data of {instance}")))?;
        let Some(encoded) = answer.user_data.and_then(|data| data.value) else {
            return Ok(None);
        };
        base64::engine::general_purpose::STANDARD
            .decode(encoded.trim())
            .map(Some)
            .map_err(|error| Error::Other(format!("the user data of {instance}: {error}")))
    }

    /// Terminates an instance; an unknown one is fine.
    pub async fn terminate(&self, instance: &str) -> Result<()> {
        let done = self
            .instances
            .terminate_instances()
            .instance_ids(instance)
            .send()
            .await;
        match done {
            Err(error)
                if error.as_service_error().is_some_and(|error| {
                    error.meta().code() == Some("InvalidInstanceID.NotFound")
                }) =>
            {
                Ok(())
            }
            other => other
                .map(drop)
                .map_err(Error::aws(format!("terminate {instance}"))),
        }
    }

    /// The role of an instance profile.
    pub async fn role(&self, profile: &str) -> Result<Role> {
        let what = || format!("read the instance profile {profile}");
        let answer = self
            .iam
            .get_instance_profile()
            .instance_profile_name(profile)
            .send()
            .await
            .map_err(Error::aws(what()))?;
        let found = answer.instance_profile;
        let role = found
            .as_ref()
            .and_then(|profile| profile.roles.first())
            .ok_or_else(|| Error::Other(format!("the instance profile {profile} has no role")))?;
        Ok(Role {
            name: role.role_name.clone(),
            arn: role.arn.clone(),
            profile_arn: found
                .as_ref()
                .map(|profile| profile.arn.clone())
                .unwrap_or_default(),
            profile_id: found
                .as_ref()
                .map(|profile| profile.instance_profile_id.clone())
                .unwrap_or_default(),
        })
    }

    /// Credentials of a role for an instance. The session's name is the instance's id, so that
    /// `aws:userid` is `<role id>:<instance id>` as on EC2.
    pub async fn assume(&self, role: &Role, instance: &str) -> Result<Credential> {
        let answer = self
            .sts
            .assume_role()
            .role_arn(&role.arn)
            .role_session_name(instance)
            .send()
            .await
            .map_err(Error::aws(format!("assume the role {}", role.name)))?;
        let given = answer
            .credentials
            .ok_or_else(|| Error::Other(format!("no credentials for the role {}", role.name)))?;
        Ok(Credential {
            access_key: given.access_key_id,
            secret_key: given.secret_access_key,
            session_token: Some(given.session_token),
            expires: Timestamp::from_second(given.expiration.secs()).ok(),
            principal: Principal::Instance {
                role: role.name.clone(),
                instance: instance.to_owned(),
            },
        })
    }
}

fn instance(found: aws_sdk_ec2::types::Instance) -> Option<Instance> {
    let state = found
        .state
        .and_then(|state| state.name)
        .unwrap_or(InstanceStateName::Pending);
    let tags = found.tags.unwrap_or_default();
    Some(Instance {
        id: found.instance_id?,
        ami: found.image_id.unwrap_or_default(),
        instance_type: found
            .instance_type
            .map(|kind| kind.as_str().to_owned())
            .unwrap_or_default(),
        zone: found
            .placement
            .and_then(|placement| placement.availability_zone)
            .unwrap_or_default(),
        state: state.as_str().to_owned(),
        private_ip: found.private_ip_address.unwrap_or_default(),
        spot: found
            .instance_lifecycle
            .is_some_and(|lifecycle| lifecycle.as_str() == "spot"),
        profile: found
            .iam_instance_profile
            .and_then(|profile| profile.arn)
            .and_then(|arn| arn.rsplit('/').next().map(str::to_owned)),
        tags: tags
            .into_iter()
            .filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
            .collect(),
        launched_at: found
            .launch_time
            .and_then(|time| Timestamp::from_second(time.secs()).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH),
    })
}
