//! Creates templates and their versions.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    InstanceType, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateInstanceMetadataTagsState, RequestLaunchTemplateData, ResourceType,
    ShutdownBehavior, VolumeType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use onspot_reconcile::{CallError, EventSender, Patience, ServiceResultExt, Step};

use super::observe::description;
use super::{Action, TemplateSpec, TemplatesPlan};
use crate::Error;
use crate::tagging::{retag, tag_specification, template_tags};

/// How long a new template may stay unknown to other calls.
const SETTLING: Patience = Patience::new(Duration::from_secs(1), Duration::from_secs(30));

/// Carries out `plan`. Can be repeated after a failure.
///
/// # Errors
///
/// [`Error::Call`] if EC2 refuses a call or cannot be reached; [`Error::Incomplete`] if its answer
/// lacks an id or a version number.
pub async fn apply(ec2: &Client, plan: &TemplatesPlan, events: &EventSender) -> Result<(), Error> {
    for (change, action) in &plan.steps {
        if *action == Action::Keep {
            continue;
        }
        let what = change.title();
        let step = Step::start(events, what);
        match act(ec2, action).await {
            Ok(id) => step.done(id.as_deref().or(change.id.as_deref())),
            Err(error) => {
                step.failed(&error);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Does one action; returns the id of what it made.
async fn act(ec2: &Client, action: &Action) -> Result<Option<String>, Error> {
    match action {
        Action::Keep => Ok(None),
        Action::Create(spec) => create(ec2, spec).await.map(Some),
        Action::AddVersion { id, spec } => {
            let number = add_version(ec2, id, spec).await?;
            use_version(ec2, id, number).await
        }
        Action::UseVersion { id, number } => use_version(ec2, id, *number).await,
        Action::Tag { id, drift } => retag(ec2, id, drift).await.map(|()| None),
        Action::Delete { id } => delete(ec2, id).await,
    }
}

async fn create(ec2: &Client, spec: &TemplateSpec) -> Result<String, Error> {
    let answer = ec2
        .create_launch_template()
        .launch_template_name(spec.template_name())
        .version_description(description(&spec.content()))
        .client_token(token())
        .launch_template_data(data(spec))
        .tag_specifications(tag_specification(
            ResourceType::LaunchTemplate,
            &spec.own_tags(),
        ))
        .send()
        .await
        .calling("CreateLaunchTemplate")?;
    let id = answer
        .launch_template
        .and_then(|template| template.launch_template_id);
    id.ok_or(Error::Incomplete {
        operation: "CreateLaunchTemplate",
        what: "the template's id",
    })
}

async fn add_version(ec2: &Client, id: &str, spec: &TemplateSpec) -> Result<i64, Error> {
    let call = ec2.create_launch_template_version().launch_template_id(id);
    let call = call.version_description(description(&spec.content()));
    let call = call.client_token(token());
    let answer = call.launch_template_data(data(spec)).send().await;
    let version = answer
        .calling("CreateLaunchTemplateVersion")?
        .launch_template_version;
    version
        .and_then(|version| version.version_number)
        .ok_or(Error::Incomplete {
            operation: "CreateLaunchTemplateVersion",
            what: "the version's number",
        })
}

async fn use_version(ec2: &Client, id: &str, number: i64) -> Result<Option<String>, Error> {
    let set = SETTLING
        .retry(CallError::is_not_found, async || {
            let call = ec2.modify_launch_template().launch_template_id(id);
            let call = call.default_version(number.to_string());
            call.send().await.calling("ModifyLaunchTemplate")
        })
        .await;
    set?;
    Ok(None)
}

async fn delete(ec2: &Client, id: &str) -> Result<Option<String>, Error> {
    let call = ec2.delete_launch_template().launch_template_id(id);
    match call.send().await.calling("DeleteLaunchTemplate") {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(None),
    }
}

/// The idempotency token of a request, by which EC2 recognises a repetition. Each decision gets a
/// new token, because EC2 answers a known one with what the first request made, even if that has
/// been deleted since.
fn token() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The template's content in EC2's terms. Raise [`FORMAT`](super::FORMAT) with every change of it.
pub(super) fn data(spec: &TemplateSpec) -> RequestLaunchTemplateData {
    let profile = LaunchTemplateIamInstanceProfileSpecificationRequest::builder()
        .name(&spec.instance_profile)
        .build();
    let tags = spec.instance_tags();
    // Everything that is created with an instance gets the tags, because an organisation may forbid
    // untagged resources. Spot requests are tagged only in the spot template: with their tags EC2
    // refuses to launch on demand ("You cannot specify tags for Spot instances requests if there
    // are no Spot instances requests being created by the request").
    let of_requests = spec
        .spot
        .then(|| template_tags(ResourceType::SpotInstancesRequest, &tags));
    let kinds = [
        ResourceType::Instance,
        ResourceType::Volume,
        ResourceType::NetworkInterface,
    ];
    let tagged = kinds.into_iter().map(|kind| template_tags(kind, &tags));
    RequestLaunchTemplateData::builder()
        .image_id(&spec.image.id)
        .set_instance_type(spec.instance_type.as_deref().map(InstanceType::from))
        .iam_instance_profile(profile)
        .security_group_ids(&spec.security_group)
        .user_data(STANDARD.encode(&spec.user_data))
        .metadata_options(metadata_options())
        .block_device_mappings(root_volume(spec))
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .set_tag_specifications(Some(tagged.chain(of_requests).collect()))
        .build()
}

/// Requires session tokens and a hop limit of one, so that a job's containers, one hop further, get
/// no answer.
fn metadata_options() -> LaunchTemplateInstanceMetadataOptionsRequest {
    LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Enabled)
        .http_tokens(LaunchTemplateHttpTokensState::Required)
        .http_put_response_hop_limit(1)
        .instance_metadata_tags(LaunchTemplateInstanceMetadataTagsState::Enabled)
        .build()
}

fn root_volume(spec: &TemplateSpec) -> LaunchTemplateBlockDeviceMappingRequest {
    let volume = LaunchTemplateEbsBlockDeviceRequest::builder()
        .volume_type(VolumeType::Gp3)
        .volume_size(i32::try_from(spec.root_gb()).unwrap_or(i32::MAX))
        .encrypted(true)
        .delete_on_termination(true)
        .build();
    LaunchTemplateBlockDeviceMappingRequest::builder()
        .device_name(&spec.image.root_device)
        .ebs(volume)
        .build()
}
