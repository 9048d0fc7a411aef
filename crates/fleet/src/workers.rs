//! Launches workers by `CreateFleet` of type `instant`, finds them by their tags, terminates them.

mod launch;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Filter;
use onspot_reconcile::{ROLE, RUNNER, STACK, ServiceResultExt, Tags};
use onspot_settings::{ManagedRunner, ManagerSettings, WorkerPool};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OnceCell};

use crate::observed::{instances, not_ended};
use crate::{Error, Instance, InstanceId, Lifecycle, Pool};

pub use launch::{LaunchRequest, Launched, PoolError};

/// The role tag of workers.
pub const WORKER: &str = "worker";

/// Where and how the workers of one runner are launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetSpec {
    /// The stack's name.
    pub stack: String,
    /// The name of the `[[runners]]` section.
    pub runner: String,
    /// The name of the launch template for instances on demand; the default version is used.
    /// [`for_spot`](crate::template::for_spot) makes the name of the spot template from it.
    pub launch_template: String,
    /// The stack owner's tags, for everything that is launched.
    #[serde(default)]
    pub tags: Tags,
    /// The subnets to launch into, one per zone.
    pub subnets: Vec<String>,
    /// The instance types to choose from, for example `m6i.large`.
    pub instance_types: Vec<String>,
    /// The most to pay for a spot instance, in dollars per hour; `None` for the on-demand price.
    pub spot_max_price: Option<String>,
}

impl FleetSpec {
    /// The fleet of a manager's runner.
    pub fn of(manager: &ManagerSettings, managed: &ManagedRunner) -> Self {
        let WorkerPool {
            launch_template,
            subnets,
            instance_types,
            spot_max_price,
            // It only identifies workers in the ledger.
            role_id: _,
        } = managed.pool.clone();
        Self {
            stack: manager.stack.clone(),
            runner: managed.runner.name.clone(),
            tags: manager.tags.iter().collect(),
            launch_template,
            subnets,
            instance_types,
            spot_max_price,
        }
    }
}

/// The workers of one runner on EC2.
#[derive(Debug)]
pub struct Ec2Fleet {
    client: Client,
    spec: FleetSpec,
    /// The zone of each subnet, looked up once because a subnet never moves.
    zones: OnceCell<BTreeMap<String, String>>,
    /// What workers are launched from.
    template: Mutex<template::Known>,
}

impl Ec2Fleet {
    /// The workers that `spec` describes, managed through `client`.
    pub fn new(client: Client, spec: FleetSpec) -> Self {
        Self {
            client,
            spec,
            zones: OnceCell::new(),
            template: Mutex::default(),
        }
    }

    /// The specification of this fleet.
    pub fn spec(&self) -> &FleetSpec {
        &self.spec
    }

    /// All workers of the runner that have not ended. EC2 lists ended ones for about an hour, and
    /// short jobs leave many of them.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if EC2 refuses the call or cannot be reached.
    pub async fn observe(&self) -> Result<Vec<Instance>, Error> {
        let tags = [
            (STACK, self.spec.stack.as_str()),
            (RUNNER, &self.spec.runner),
            (ROLE, WORKER),
        ];
        let filters = tags.map(|(key, value)| {
            Filter::builder()
                .name(format!("tag:{key}"))
                .values(value)
                .build()
        });
        let mut filters = Vec::from(filters);
        filters.push(not_ended());
        instances(&self.client, filters).await
    }

    /// The current states of these instances, looked up by id and not by tag; `None` for one that
    /// EC2 does not know. An instance that EC2's answer does not mention is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if EC2 refuses the call for another reason than an unknown id, or cannot be
    /// reached.
    pub async fn by_id(
        &self,
        instances: &[InstanceId],
    ) -> Result<Vec<(InstanceId, Option<Instance>)>, Error> {
        crate::observed::by_id(&self.client, instances).await
    }

    /// The workers among these that were launched from another content of their launch template
    /// than launches use now: from an older version, or from one that was edited by hand.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if EC2 refuses to describe the templates or cannot be reached.
    pub async fn outdated(&self, instances: &[Instance]) -> Result<BTreeSet<InstanceId>, Error> {
        let mut known = self.template.lock().await;
        let template = &self.spec.launch_template;
        known.outdated(&self.client, template, instances).await
    }

    /// Terminates instances. Instances that EC2 does not know any more are no error.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if EC2 refuses to terminate an instance or cannot be reached.
    pub async fn terminate(&self, instances: &[InstanceId]) -> Result<(), Error> {
        crate::observed::terminate(&self.client, instances).await
    }

    /// The console output of the instance, for the diagnosis of one that never reported; `None`
    /// when EC2 has none yet.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if EC2 refuses the call or cannot be reached.
    pub async fn console(&self, instance: &InstanceId) -> Result<Option<String>, Error> {
        crate::console::console(&self.client, instance).await
    }

    /// The number of the launch template version that launches use. A new number means that workers
    /// are made from other content.
    ///
    /// # Errors
    ///
    /// [`Error::NoTemplate`] if the template does not exist; [`Error::Call`] if EC2 refuses the
    /// call or cannot be reached.
    pub async fn template_version(&self) -> Result<i64, Error> {
        let call = self.client.describe_launch_templates();
        let answer = call
            .launch_template_names(&self.spec.launch_template)
            .send()
            .await
            .calling("DescribeLaunchTemplates")?;
        let templates = answer.launch_templates.unwrap_or_default();
        let version = templates
            .into_iter()
            .find_map(|template| template.default_version_number);
        version.ok_or_else(|| Error::NoTemplate {
            template: self.spec.launch_template.clone(),
        })
    }

    /// The workers of the stack whose runner is none of `runners`.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if EC2 refuses to list the workers or cannot be reached.
    pub async fn strays(&self, runners: &BTreeSet<&str>) -> Result<Vec<Instance>, Error> {
        let workers = crate::instances(&self.client, &self.spec.stack, Some(WORKER)).await?;
        Ok(crate::strays(runners, &workers))
    }

    /// The pools that launches of `lifecycle` may use.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if EC2 refuses to describe the subnets or cannot be reached.
    pub async fn pools(&self, lifecycle: Lifecycle) -> Result<Vec<Pool>, Error> {
        let zones = self.zones().await?;
        let pools = self.spec.subnets.iter().flat_map(|subnet| {
            let zone = zones.get(subnet).unwrap_or(subnet);
            self.spec.instance_types.iter().map(|instance_type| Pool {
                instance_type: instance_type.clone(),
                zone: zone.clone(),
                lifecycle,
            })
        });
        Ok(pools.collect())
    }

    /// The zone of each of the spec's subnets.
    async fn zones(&self) -> Result<&BTreeMap<String, String>, Error> {
        self.zones.get_or_try_init(|| self.ask_for_zones()).await
    }

    async fn ask_for_zones(&self) -> Result<BTreeMap<String, String>, Error> {
        let subnets = Some(self.spec.subnets.clone());
        let answer = self
            .client
            .describe_subnets()
            .set_subnet_ids(subnets)
            .send()
            .await;
        let subnets = answer
            .calling("DescribeSubnets")?
            .subnets
            .unwrap_or_default();
        let zone = |subnet: aws_sdk_ec2::types::Subnet| {
            Some((subnet.subnet_id?, subnet.availability_zone?))
        };
        Ok(subnets.into_iter().filter_map(zone).collect())
    }
}
