//! Launches any number of workers with one `CreateFleet`.

use std::collections::BTreeMap;

use aws_sdk_ec2::operation::create_fleet::CreateFleetOutput;
use aws_sdk_ec2::types::{
    DefaultTargetCapacityType, FleetLaunchTemplateConfigRequest, FleetLaunchTemplateOverrides,
    FleetLaunchTemplateOverridesRequest, FleetLaunchTemplateSpecificationRequest,
    FleetOnDemandAllocationStrategy, FleetType, InstanceLifecycle, InstanceType,
    LaunchTemplateAndOverridesResponse, OnDemandOptionsRequest, ResourceType,
    SpotAllocationStrategy, SpotOptionsRequest, TagSpecification,
    TargetCapacitySpecificationRequest,
};
use jiff::Timestamp;
use onspot_reconcile::{ServiceResultExt, Tags};
use serde::{Deserialize, Serialize};

use super::{Ec2Fleet, WORKER};
use crate::instance::UNKNOWN;
use crate::tagging::tag_specification;
use crate::{Error, Instance, InstanceId, InstanceState, Lifecycle, Pool, Refusal, template};

/// Most overrides that `CreateFleet` accepts.
const MAX_OVERRIDES: usize = 300;

/// What to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchRequest {
    /// How many workers; 1 at least.
    pub count: u32,
    /// How they are paid for.
    pub lifecycle: Lifecycle,
    /// The idempotency token, at most 64 ASCII characters: a repeated request with the
    /// same token launches nothing more.
    pub token: String,
    /// Pools to leave out because they are dry. If that leaves none, all are tried.
    pub avoid: Vec<Pool>,
}

/// The result of a launch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launched {
    /// The new instances, fewer than asked for if there are errors.
    pub instances: Vec<Instance>,
    /// Why pools gave nothing.
    pub errors: Vec<PoolError>,
}

/// Why a pool gave no instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolError {
    /// The pool.
    pub pool: Pool,
    /// EC2's error code, for example `InsufficientInstanceCapacity`.
    pub code: String,
    /// EC2's message.
    pub message: String,
}

impl PoolError {
    /// What that means for the next launch.
    pub fn refusal(&self) -> Refusal {
        Refusal::of(&self.code, &self.message)
    }
}

impl std::fmt::Display for PoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.pool, self.message, self.code)
    }
}

impl Ec2Fleet {
    /// Launches workers. A pool without capacity is no error of the call: see
    /// [`Launched::errors`].
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if EC2 refuses the call or cannot be reached.
    pub async fn launch(&self, request: LaunchRequest) -> Result<Launched, Error> {
        let zones = self.zones().await?;
        let count = i32::try_from(request.count).unwrap_or(i32::MAX);
        let (spot, on_demand, default) = match request.lifecycle {
            Lifecycle::Spot => (count, 0, DefaultTargetCapacityType::Spot),
            Lifecycle::OnDemand => (0, count, DefaultTargetCapacityType::OnDemand),
        };
        let capacity = TargetCapacitySpecificationRequest::builder()
            .total_target_capacity(count)
            .spot_target_capacity(spot)
            .on_demand_target_capacity(on_demand)
            .default_target_capacity_type(default)
            .build();
        let answer = self
            .client
            .create_fleet()
            .client_token(&request.token)
            .r#type(FleetType::Instant)
            .target_capacity_specification(capacity)
            .spot_options(spot_options())
            .on_demand_options(on_demand_options())
            .launch_template_configs(self.template_config(&request, zones))
            .set_tag_specifications(Some(self.tags()))
            .send()
            .await
            .calling("CreateFleet")?;
        Ok(self.launched(answer, request.lifecycle, zones))
    }

    fn template_config(
        &self,
        request: &LaunchRequest,
        zones: &BTreeMap<String, String>,
    ) -> FleetLaunchTemplateConfigRequest {
        let name = &self.spec.launch_template;
        let name = match request.lifecycle {
            Lifecycle::Spot => template::for_spot(name),
            Lifecycle::OnDemand => name.clone(),
        };
        let template = FleetLaunchTemplateSpecificationRequest::builder()
            .launch_template_name(name)
            .version("$Default")
            .build();
        FleetLaunchTemplateConfigRequest::builder()
            .launch_template_specification(template)
            .set_overrides(Some(self.overrides(request, zones)))
            .build()
    }

    /// Types × subnets without the pools to avoid.
    fn overrides(
        &self,
        request: &LaunchRequest,
        zones: &BTreeMap<String, String>,
    ) -> Vec<FleetLaunchTemplateOverridesRequest> {
        let spec = &self.spec;
        let pairs = || {
            spec.subnets
                .iter()
                .flat_map(|subnet| spec.instance_types.iter().map(move |t| (subnet, t)))
        };
        let avoided = |(subnet, instance_type): &(&String, &String)| {
            request.avoid.iter().any(|pool| {
                pool.lifecycle == request.lifecycle
                    && pool.instance_type == **instance_type
                    && pool.zone == *zones.get(*subnet).unwrap_or(subnet)
            })
        };
        let mut chosen: Vec<_> = pairs().filter(|pair| !avoided(pair)).collect();
        if chosen.is_empty() {
            chosen = pairs().collect();
        }
        chosen.truncate(MAX_OVERRIDES);
        let price = (request.lifecycle == Lifecycle::Spot).then_some(spec.spot_max_price.as_ref());
        let overrides = chosen.into_iter().map(|(subnet, instance_type)| {
            FleetLaunchTemplateOverridesRequest::builder()
                .instance_type(InstanceType::from(instance_type.as_str()))
                .subnet_id(subnet)
                .set_max_price(price.flatten().cloned())
                .build()
        });
        overrides.collect()
    }

    /// The same tags for the fleet, its instances and their volumes. The launch template adds more
    /// tags to the latter two. These tags are in the request because the managers' role may launch
    /// only what the request tags, and AWS does not promise that a template's tags count for that.
    fn tags(&self) -> Vec<TagSpecification> {
        let tags = self.worker_tags();
        let kinds = [
            ResourceType::Fleet,
            ResourceType::Instance,
            ResourceType::Volume,
        ];
        kinds.map(|kind| tag_specification(kind, &tags)).into()
    }

    fn worker_tags(&self) -> Tags {
        let Self { spec, .. } = self;
        let mut tags = spec.tags.clone();
        tags.extend([(onspot_reconcile::STACK, &spec.stack)]);
        tags.with_runner(&spec.runner)
            .with_role(WORKER)
            .with_name(&spec.launch_template)
    }

    /// Converts the answer.
    fn launched(
        &self,
        answer: CreateFleetOutput,
        asked: Lifecycle,
        zones: &BTreeMap<String, String>,
    ) -> Launched {
        let lifecycle = |given: Option<InstanceLifecycle>| match given {
            Some(InstanceLifecycle::Spot) => Lifecycle::Spot,
            Some(InstanceLifecycle::OnDemand) => Lifecycle::OnDemand,
            _ => asked,
        };
        let mut launched = Launched::default();
        for group in answer.instances.unwrap_or_default() {
            let overrides = overrides_of(group.launch_template_and_overrides);
            let mut pool = pool_of(overrides.as_ref(), lifecycle(group.lifecycle), zones);
            if let Some(instance_type) = group.instance_type {
                instance_type.as_str().clone_into(&mut pool.instance_type);
            }
            if let Some(zone) = group.availability_zone {
                pool.zone = zone;
            }
            let ids = group.instance_ids.unwrap_or_default().into_iter();
            launched.instances.extend(ids.map(|id| Instance {
                id: InstanceId::new(id),
                pool: pool.clone(),
                state: InstanceState::Pending,
                launched_at: Timestamp::now(),
                reason: None,
                private_ip: None,
                tags: self.worker_tags(),
                outdated: false,
            }));
        }
        for error in answer.errors.unwrap_or_default() {
            let overrides = overrides_of(error.launch_template_and_overrides);
            launched.errors.push(PoolError {
                pool: pool_of(overrides.as_ref(), lifecycle(error.lifecycle), zones),
                code: error.error_code.unwrap_or_default(),
                message: error.error_message.unwrap_or_default(),
            });
        }
        launched
    }
}

fn spot_options() -> SpotOptionsRequest {
    // The strategy that AWS recommends: the pools least likely to be interrupted, cheapest first.
    SpotOptionsRequest::builder()
        .allocation_strategy(SpotAllocationStrategy::PriceCapacityOptimized)
        .build()
}

fn on_demand_options() -> OnDemandOptionsRequest {
    OnDemandOptionsRequest::builder()
        .allocation_strategy(FleetOnDemandAllocationStrategy::LowestPrice)
        .build()
}

fn overrides_of(
    response: Option<LaunchTemplateAndOverridesResponse>,
) -> Option<FleetLaunchTemplateOverrides> {
    response.and_then(|response| response.overrides)
}

/// The pool that `overrides` names; [`UNKNOWN`] stands for a part that AWS left out.
fn pool_of(
    overrides: Option<&FleetLaunchTemplateOverrides>,
    lifecycle: Lifecycle,
    zones: &BTreeMap<String, String>,
) -> Pool {
    let unknown = || UNKNOWN.to_owned();
    let zone = overrides.and_then(|overrides| {
        let by_subnet = || {
            overrides
                .subnet_id()
                .and_then(|id| zones.get(id))
                .map(String::as_str)
        };
        overrides
            .availability_zone()
            .or_else(by_subnet)
            .or(overrides.subnet_id())
    });
    let instance_type = overrides.and_then(|overrides| overrides.instance_type());
    Pool {
        instance_type: instance_type.map_or_else(unknown, |t| t.as_str().to_owned()),
        zone: zone.map_or_else(unknown, str::to_owned),
        lifecycle,
    }
}
