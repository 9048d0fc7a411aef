//! A job's services: containers beside it, reached by their aliases over a network of the job's
//! own.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, ImageInspect, NetworkConnectRequest,
    NetworkCreateRequest, NetworkingConfig,
};
use onspot_gitlab::{TraceWriter, Variable};

use super::{container, host_config};
use super::helper::short_id;
use super::job::DockerJob;
use crate::error::ExecutorError;
use crate::helper::request::{ServiceAddress, WaitForServices};
use crate::helper::{HelperCall, HelperRequest};
use crate::plan::image::ImagePlan;

/// The option of a bridge that says how large a packet may be.
const MTU: &str = "com.docker.network.driver.mtu";

impl DockerJob<'_> {
    /// Makes the network that the job shares with its services. Settings that name one of their
    /// own keep it.
    pub(super) async fn make_network(&mut self) -> Result<(), ExecutorError> {
        let settings = &self.inner.settings;
        let own = settings.network_mode.as_deref().unwrap_or_default();
        if !matches!(own, "" | "default" | "bridge") {
            return Ok(());
        }
        let name = format!("onspot-{}-{}", self.run.payload.id, short_id());
        // Known before it is there: a job that is stopped meanwhile removes it all the same.
        self.network = Some(name.clone());
        let request = NetworkCreateRequest {
            name,
            driver: Some("bridge".into()),
            enable_ipv6: settings.enable_ipv6.then_some(true),
            options: (settings.network_mtu > 0).then(|| {
                HashMap::from([(MTU.to_owned(), settings.network_mtu.to_string())])
            }),
            labels: Some(self.labels("network")),
            ..NetworkCreateRequest::default()
        };
        let docker = self.inner.docker.clone();
        self.made(async move { docker.create_network(request).await })
            .await?
            .map_err(ExecutorError::docker("create the job's network"))
            .map(drop)
    }

    /// Starts a service.
    pub(super) async fn start_service(
        &mut self,
        plan: &ImagePlan,
        image: &ImageInspect,
        trace: &TraceWriter,
    ) -> Result<(), ExecutorError> {
        trace.info(&format!(
            "Starting service {} ({}) ...",
            plan.name,
            plan.aliases.join(", ")
        ));
        let mut env = self.environment(|variable| self.is_for_services(variable));
        env.extend(
            plan.variables
                .iter()
                .map(|(key, value)| format!("{key}={value}")),
        );
        let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let config = host_config::of_service(
            &self.inner.settings,
            self.run.slot,
            self.binds(),
            plan.privileged,
            &plan.name,
        )?;
        let body = ContainerCreateBody {
            image: Some(plan.name.clone()),
            entrypoint: list(&plan.entrypoint),
            cmd: list(&plan.command),
            env: Some(env),
            labels: Some(self.labels("service")),
            user: Some(plan.user.clone()).filter(|user| !user.is_empty()),
            host_config: Some(self.in_network(config)),
            networking_config: self.aliases(&plan.aliases),
            ..ContainerCreateBody::default()
        };
        let (docker, platform) = (self.inner.docker.clone(), plan.platform.clone());
        let created = self
            .made(async move { container::create(&docker, &platform, body).await })
            .await?;
        let id = created.map_err(ExecutorError::docker(format!(
            "create service {}",
            plan.name
        )))?;
        self.services.push(id.clone());
        let started = self.inner.docker.start_container(&id, None).await;
        started.map_err(ExecutorError::docker(format!(
            "start service {}",
            plan.name
        )))?;
        if let Some(address) = self.address(&id, plan, image).await {
            self.addresses.push(address);
        }
        Ok(())
    }

    /// Whether services get a variable. Their images are somebody else's code: secrets are not for
    /// them, unless their own variables name them. The runner's environment is for all, unless the
    /// job has put something else in its place.
    fn is_for_services(&self, variable: &Variable) -> bool {
        let of_runner = |line: &String| {
            line.split_once('=')
                .is_some_and(|(key, _)| key.trim() == variable.key)
        };
        let of_job = |given: &Variable| given.key == variable.key;
        (variable.public && !variable.masked)
            || (variable.key != "DOCKER_AUTH_CONFIG"
                && self.inner.settings.runner.environment.iter().any(of_runner)
                && !self.run.payload.variables.iter().any(of_job))
    }

    fn aliases(&self, aliases: &[String]) -> Option<NetworkingConfig> {
        // Docker answers for names only in networks that somebody has made.
        let of_runner = self.inner.settings.network_mode.clone();
        let network = self.network.clone().or_else(|| {
            of_runner.filter(|mode| {
                !matches!(mode.as_str(), "" | "default" | "bridge" | "host" | "none")
                    && !mode.starts_with("container:")
            })
        })?;
        let endpoint = EndpointSettings {
            aliases: Some(aliases.to_vec()),
            ..EndpointSettings::default()
        };
        Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network, endpoint)])),
        })
    }

    /// Where a service should answer, if its image says so.
    async fn address(
        &self,
        id: &str,
        plan: &ImagePlan,
        image: &ImageInspect,
    ) -> Option<ServiceAddress> {
        let exposed = image.config.as_ref()?.exposed_ports.as_ref()?;
        let mut ports: Vec<u16> = exposed
            .iter()
            .filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok())
            .collect();
        ports.sort_unstable();
        let container = self.inner.docker.inspect_container(id, None).await.ok()?;
        let networks = container.network_settings?.networks?;
        let address = networks.values().find_map(|network| {
            network
                .ip_address
                .clone()
                .filter(|address| !address.is_empty())
        })?;
        (!ports.is_empty()).then(|| ServiceAddress {
            name: plan.name.clone(),
            address,
            ports,
        })
    }

    /// Waits until the services take connections. The helper does it, from within their network.
    pub(super) async fn wait_for_services(&self, trace: &TraceWriter) -> Result<(), ExecutorError> {
        let limit = self.inner.settings.wait_for_services;
        let (Some(helper), false) = (&self.helper, self.addresses.is_empty() || limit.is_zero())
        else {
            return Ok(());
        };
        if let Some(network) = &self.network {
            let request = NetworkConnectRequest {
                container: helper.id.clone(),
                ..NetworkConnectRequest::default()
            };
            let connected = self.inner.docker.connect_network(network, request).await;
            connected.map_err(ExecutorError::docker("join the job's network"))?;
        }
        trace.info("Waiting for services to be up and running...");
        let request = WaitForServices {
            seconds: limit.as_secs(),
            services: self.addresses.clone(),
        };
        let call = HelperCall {
            place: self.plan.place.clone(),
            request: HelperRequest::WaitForServices(request),
        };
        self.inner.ask(&helper.id, &call, trace).await.map(drop)
    }
}
