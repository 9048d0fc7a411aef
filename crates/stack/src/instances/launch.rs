//! Assembles the launch templates and the managers' group from the results of the other layers.

use std::collections::BTreeMap;

use onspot_fleet::WORKER;
use onspot_fleet::group::{GroupSpec, MANAGER};
use onspot_fleet::template::TemplateSpec;
use onspot_netplan::Network;
use onspot_settings::{
    Cache, DEFAULT_LEASE_FILE, ManagedRunner, ManagerSettings, TokenRef, WorkerPool, WorkerSettings,
};
use serde::Serialize;

use crate::instances::boot::{ManagerBoot, Source, WorkerBoot};
use crate::instances::config::token_parameter;
use crate::instances::images::Images;
use crate::instances::settings::{self, Told};
use crate::names::{Names, cache_prefix};
use crate::program::Program;
use crate::spec::{RegistryCache, Runner, Spec};
use crate::{Clients, Error};

/// Everything that a launch template is made from.
pub(crate) struct Ingredients<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) clients: &'a Clients,
    pub(crate) names: &'a Names,
    pub(crate) program: &'a Program,
    pub(crate) images: &'a Images,
    pub(crate) network: &'a Network,
    /// The unique ids of roles, by name.
    pub(crate) role_ids: &'a BTreeMap<String, String>,
}

impl Ingredients<'_> {
    /// The templates of the managers, and of each runner's workers on spot and on demand.
    pub(crate) fn templates(&self) -> Result<Vec<TemplateSpec>, Error> {
        let workers = self
            .spec
            .runners
            .iter()
            .map(|runner| self.worker_template(runner));
        let mut templates = vec![self.manager_template()?];
        for workers in workers {
            let on_demand = workers?;
            templates.extend([on_demand.for_spot(), on_demand]);
        }
        Ok(templates)
    }

    /// The managers' group, whose members are made from `template`.
    pub(crate) fn group(&self, template: &TemplateSpec) -> GroupSpec {
        GroupSpec {
            stack: self.names.stack().to_owned(),
            name: self.names.manager(),
            template: template.name.clone(),
            content: template.content(),
            subnets: self.subnets(),
            count: self.spec.manager.count,
            tags: self.spec.owners_tags(),
        }
    }

    fn manager_template(&self) -> Result<TemplateSpec, Error> {
        let manager = &self.spec.manager;
        let of = "the manager";
        let settings = toml_text(&self.manager_settings(), of)?;
        let bucket = self.bucket();
        let boot = ManagerBoot {
            source: self.source(&bucket),
            settings: &settings,
            os: manager.os,
            registry_cache: manager.registry_cache.as_ref(),
        };
        Ok(TemplateSpec {
            stack: self.names.stack().to_owned(),
            name: self.names.manager(),
            spot: false,
            role: MANAGER.to_owned(),
            runner: None,
            image: self.images.of(manager.os, manager.ami.as_deref())?,
            instance_type: Some(manager.instance_type.clone()),
            disk_gb: manager.registry_cache.as_ref().map(RegistryCache::disk_gb),
            instance_profile: self.names.manager_role(),
            security_group: self.network.manager_sg.clone(),
            user_data: boot.render()?,
            tags: self.spec.owners_tags(),
        })
    }

    fn worker_template(&self, runner: &Runner) -> Result<TemplateSpec, Error> {
        let workers = &runner.workers;
        let slug = runner.slug();
        let of = format!("runner {:?}", runner.name);
        let settings = toml_text(&self.worker_settings(runner), &of)?;
        let bucket = self.bucket();
        let helper = self.program.helper.as_ref();
        let boot = WorkerBoot {
            source: self.source(&bucket),
            runner: &runner.name,
            os: workers.os,
            settings: &settings,
            registry_mirrors: &workers.registry_mirrors,
            registry_cache: self.spec.manager.registry_cache.is_some(),
            helper: helper.map(|helper| (helper.key(), helper.sha256())),
        };
        Ok(TemplateSpec {
            stack: self.names.stack().to_owned(),
            name: self.names.workers(&slug),
            spot: false,
            role: WORKER.to_owned(),
            runner: Some(runner.name.clone()),
            image: self.images.of(workers.os, workers.ami.as_deref())?,
            instance_type: None,
            disk_gb: Some(workers.disk_gb),
            instance_profile: self.names.worker_role(&slug),
            security_group: self.network.worker_sg.clone(),
            user_data: boot.render()?,
            tags: self.spec.owners_tags(),
        })
    }

    pub(crate) fn manager_settings(&self) -> ManagerSettings {
        let runners = self.spec.runners.iter();
        ManagerSettings {
            stack: self.names.stack().to_owned(),
            region: self.names.region().to_owned(),
            endpoint_url: self.endpoint(),
            bucket: self.bucket(),
            log_group: self.names.log_group(),
            registry_port: self.registry_port(),
            listen_address: self.spec.manager.listen_address,
            concurrent: self.spec.concurrent,
            check_interval: ManagerSettings::check_interval(0),
            timing: self.spec.timing.clone(),
            tags: settings::tags(&self.spec.owners_tags()),
            runners: runners.map(|runner| self.managed(runner)).collect(),
        }
    }

    fn managed(&self, runner: &Runner) -> ManagedRunner {
        ManagedRunner {
            token: TokenRef::Ssm(token_parameter(runner, self.names)),
            runner: Told::of(runner).manager,
            policy: settings::policy(self.spec, runner),
            pool: WorkerPool {
                launch_template: self.names.workers(&runner.slug()),
                subnets: self.subnets(),
                instance_types: runner.workers.instance_types.clone(),
                spot_max_price: runner.workers.spot_price.clone(),
                role_id: self.role_id(runner),
            },
        }
    }

    fn worker_settings(&self, runner: &Runner) -> WorkerSettings {
        let Told {
            worker,
            docker,
            manager: _,
        } = Told::of(runner);
        WorkerSettings {
            stack: self.names.stack().to_owned(),
            region: self.names.region().to_owned(),
            endpoint_url: self.endpoint(),
            bucket: self.bucket(),
            log_group: self.names.log_group(),
            role_id: self.role_id(runner),
            slots: runner.workers.slots,
            max_builds: runner.max_builds(),
            lease_file: DEFAULT_LEASE_FILE.into(),
            registry_port: self.registry_port(),
            timing: self.spec.timing.clone(),
            runner: worker,
            docker,
            // Every runner has a prefix of its own, to which its workers' role has access. Keys
            // below it need no runner token, so the cache survives a change of the token.
            cache: Some(Cache {
                bucket: self.bucket(),
                prefix: Some(cache_prefix(&runner.slug())),
                shared: true,
                upload_limit: 0,
                encryption: None,
                encryption_key: None,
            }),
        }
    }

    fn registry_port(&self) -> Option<u16> {
        let cache = self.spec.manager.registry_cache.as_ref();
        cache.map(|_| RegistryCache::PORT)
    }

    fn source<'a>(&'a self, bucket: &'a str) -> Source<'a> {
        Source {
            stack: self.names.stack(),
            region: self.names.region(),
            endpoint: self.clients.endpoint(),
            bucket,
            sha256: self.program.binary.sha256(),
        }
    }

    fn role_id(&self, runner: &Runner) -> String {
        let role = self.names.worker_role(&runner.slug());
        self.role_ids
            .get(&role)
            .cloned()
            .unwrap_or_else(|| LATER.to_owned())
    }

    fn bucket(&self) -> String {
        self.names.bucket(self.clients.account())
    }

    fn endpoint(&self) -> Option<String> {
        self.clients
            .endpoint()
            .map(|url| url.as_str().trim_end_matches('/').to_owned())
    }

    fn subnets(&self) -> Vec<String> {
        self.network
            .instance_subnets()
            .iter()
            .map(|subnet| subnet.id.clone())
            .collect()
    }
}

/// Replaces in plans an id that AWS has not assigned yet.
pub(crate) const LATER: &str = "(known later)";

/// The network as a plan shows it before it exists.
pub(crate) fn network_to_be(nat: onspot_netplan::Nat, zones: &[String]) -> Network {
    let subnets = || {
        zones
            .iter()
            .map(|zone| onspot_netplan::SubnetId {
                id: LATER.to_owned(),
                zone: zone.clone(),
            })
            .collect()
    };
    Network {
        vpc_id: LATER.to_owned(),
        public_subnets: subnets(),
        private_subnets: subnets(),
        manager_sg: LATER.to_owned(),
        worker_sg: LATER.to_owned(),
        nat,
    }
}

/// The existing network as a plan shows it once it is in these zones.
pub(crate) fn with_zones(network: Network, nat: onspot_netplan::Nat, zones: &[String]) -> Network {
    let later = network_to_be(nat, zones);
    let known = |there: Vec<onspot_netplan::SubnetId>, later: Vec<onspot_netplan::SubnetId>| {
        let mut subnets: Vec<_> = later
            .into_iter()
            .map(|subnet| {
                let found = there.iter().find(|found| found.zone == subnet.zone);
                found.cloned().unwrap_or(subnet)
            })
            .collect();
        // In the order in which the network itself lists them.
        subnets.sort_by(|a, b| a.zone.cmp(&b.zone));
        subnets
    };
    Network {
        public_subnets: known(network.public_subnets, later.public_subnets),
        private_subnets: known(network.private_subnets, later.private_subnets),
        nat,
        ..network
    }
}

fn toml_text(settings: &impl Serialize, of: &str) -> Result<String, Error> {
    toml::to_string(settings).map_err(|source| Error::Render {
        of: of.to_owned(),
        source,
    })
}
