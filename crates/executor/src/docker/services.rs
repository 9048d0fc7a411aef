//! A job's services: containers that the job reaches by their aliases over its own network.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig,
    NetworkCreateRequest, NetworkingConfig,
};
use onspot_gitlab::{TraceWriter, Variable};

use super::helper::short_id;
use super::job::DockerJob;
use super::service::Service;
use super::service_log::ServiceLog;
use super::{Inner, container, host_config};
use crate::error::Error;
use crate::plan::image::ImagePlan;

/// The bridge option for the MTU.
const MTU: &str = "com.docker.network.driver.mtu";

/// The first version of the engine's interface that sets hardware addresses in networks.
const SETS_HARDWARE_ADDRESSES: (usize, usize) = (1, 44);

impl Inner {
    /// Whether the engine can give a container a hardware address.
    pub(super) fn sets_hardware_addresses(&self) -> bool {
        let version = self.docker.client_version();
        (version.major_version, version.minor_version) >= SETS_HARDWARE_ADDRESSES
    }
}

impl DockerJob<'_> {
    /// Tells of settings that this engine can't do.
    pub(super) fn tell_of_the_engine(&self, trace: &TraceWriter) {
        let mac = self.inner.settings.docker.mac_address.as_deref();
        if mac.is_some_and(|mac| !mac.is_empty()) && !self.inner.sets_hardware_addresses() {
            trace.warning("mac_address has no effect: this Docker engine is older than 25.0");
        }
    }

    /// Creates the network shared by the job and its services, unless the settings name one.
    pub(super) async fn make_network(&mut self) -> Result<(), Error> {
        let settings = &self.inner.settings.docker;
        let own = settings.network_mode.as_deref().unwrap_or_default();
        if !matches!(own, "" | "default" | "bridge") {
            return Ok(());
        }
        let name = match self.plan.network() {
            Some(name) => name.to_owned(),
            None => format!("onspot-{}-{}", self.run.payload.id, short_id()),
        };
        // Stored before it exists, so that a job stopped meanwhile removes it all the same.
        self.network = Some(name.clone());
        let request = NetworkCreateRequest {
            name,
            driver: Some("bridge".into()),
            enable_ipv6: settings.enable_ipv6.then_some(true),
            options: (settings.network_mtu > 0)
                .then(|| HashMap::from([(MTU.to_owned(), settings.network_mtu.to_string())])),
            labels: Some(self.labels("network")),
            ..NetworkCreateRequest::default()
        };
        let docker = self.inner.docker.clone();
        self.made(async move { docker.create_network(request).await })
            .await?
            .map_err(Error::docker("create the job's network"))
            .map(drop)
    }

    /// Starts a service.
    pub(super) async fn start_service(
        &mut self,
        plan: &ImagePlan,
        image: &str,
        trace: &TraceWriter,
    ) -> Result<(), Error> {
        trace.info(&format!(
            "Starting service {} ({}) ...",
            plan.name,
            plan.aliases.join(", ")
        ));
        let body = self.service_container(plan, image)?;
        let (docker, platform) = (self.inner.docker.clone(), plan.platform.clone());
        let created = self
            .made(async move { container::create(&docker, &platform, body).await })
            .await?;
        let id = created.map_err(Error::docker(format!("create service {}", plan.name)))?;
        self.services.push(Service::new(id.clone(), &plan.name));
        let started = container::start(&self.inner.docker, &id, &self.gate).await;
        started.map_err(Error::docker(format!("start service {}", plan.name)))?;
        if self.plan.variables.flag("CI_DEBUG_SERVICES")
            && let Some(service) = self.services.last()
        {
            let docker = &self.inner.docker;
            service.follow(ServiceLog::start(docker, &id, &plan.aliases, trace));
        }
        let inspected = self.inner.docker.inspect_container(&id, None).await;
        let inspected =
            inspected.map_err(Error::docker(format!("look at service {}", plan.name)))?;
        if let Some(service) = self.services.last_mut() {
            service.ports = ports(&inspected, &plan.name)?;
            service.address = address(inspected);
        }
        Ok(())
    }

    fn service_container(
        &self,
        plan: &ImagePlan,
        image: &str,
    ) -> Result<ContainerCreateBody, Error> {
        let mut env = self.environment(|variable| self.is_for_services(variable));
        env.extend(
            plan.variables
                .iter()
                .map(|(key, value)| format!("{key}={value}")),
        );
        let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let (settings, limits) = (&self.inner.settings.docker, self.limits(plan.privileged));
        let init = self.plan.variables.flag("FF_USE_INIT_WITH_DOCKER_EXECUTOR");
        let config = HostConfig {
            init: init.then_some(true),
            ..host_config::of_service(settings, limits, self.binds(), &plan.name)?
        };
        Ok(ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: list(&plan.entrypoint),
            cmd: list(&plan.command),
            env: Some(env),
            labels: Some(self.labels("service")),
            user: Some(plan.user.clone()).filter(|user| !user.is_empty()),
            host_config: Some(self.in_network(config)),
            networking_config: self.aliases(&plan.aliases),
            ..ContainerCreateBody::default()
        })
    }

    /// Whether services get a variable. Their images are third-party code, so they get no secrets
    /// unless their own variables refer to them. The runner's environment is passed to all, unless
    /// the job overrides it.
    fn is_for_services(&self, variable: &Variable) -> bool {
        let of_runner = |line: &String| {
            line.split_once('=')
                .is_some_and(|(key, _)| key.trim() == variable.key)
        };
        let of_job = |given: &Variable| given.key == variable.key;
        (variable.public && !variable.masked)
            || (variable.key != "DOCKER_AUTH_CONFIG"
                && self
                    .inner
                    .settings
                    .common
                    .runner
                    .environment
                    .iter()
                    .any(of_runner)
                && !self.run.payload.variables.iter().any(of_job))
    }

    /// The job's own container in its network: services reach it as `build`. It alone has the
    /// hardware address of the settings, since two containers with one would not be reached.
    pub(super) fn place_of_job(&self) -> Option<NetworkingConfig> {
        let settings = &self.inner.settings.docker;
        let aliases = self.aliases(&["build".to_owned()]);
        let mac_address = settings.mac_address.clone().filter(|mac| !mac.is_empty());
        if mac_address.is_none() || !self.inner.sets_hardware_addresses() {
            return aliases;
        }
        let named = settings.network_mode.clone();
        let of_host = named.filter(|mode| !mode.is_empty());
        let mut endpoints = aliases
            .and_then(|config| config.endpoints_config)
            .unwrap_or_else(|| {
                let network = of_host.unwrap_or_else(|| "default".to_owned());
                HashMap::from([(network, EndpointSettings::default())])
            });
        for endpoint in endpoints.values_mut() {
            endpoint.mac_address.clone_from(&mac_address);
        }
        Some(NetworkingConfig {
            endpoints_config: Some(endpoints),
        })
    }

    fn aliases(&self, aliases: &[String]) -> Option<NetworkingConfig> {
        // Docker resolves names only in user-defined networks.
        let of_runner = self.inner.settings.docker.network_mode.clone();
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
}

/// The maximum of ports that are tried, lowest first.
const MOST_PORTS: usize = 20;

/// The ports at which a service should answer: the one in `HEALTHCHECK_TCP_PORT`, or those that its
/// image exposes.
fn ports(container: &ContainerInspectResponse, name: &str) -> Result<Vec<u16>, Error> {
    let Some(config) = &container.config else {
        return Ok(Vec::new());
    };
    let named = config.env.iter().flatten().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        key.eq_ignore_ascii_case("HEALTHCHECK_TCP_PORT")
            .then_some(value)
    });
    if let Some(port) = named {
        let port = port.trim().parse().map_err(|_| {
            Error::NotAllowed(format!(
                "HEALTHCHECK_TCP_PORT of service {name} is {port:?}, which is no port"
            ))
        })?;
        return Ok(vec![port]);
    }
    let exposed = config.exposed_ports.iter().flatten();
    let mut ports: Vec<u16> = exposed
        .filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok())
        .collect();
    ports.sort_unstable();
    ports.truncate(MOST_PORTS);
    Ok(ports)
}

/// The address of a running service.
fn address(container: ContainerInspectResponse) -> Option<String> {
    let networks = container.network_settings?.networks?;
    networks
        .into_values()
        .find_map(|network| network.ip_address.filter(|address| !address.is_empty()))
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerConfig;

    use super::*;

    fn of(env: &[&str], exposed: &[&str]) -> Result<Vec<u16>, String> {
        let list = |list: &[&str]| Some(list.iter().map(|&text| text.to_owned()).collect());
        let container = ContainerInspectResponse {
            config: Some(ContainerConfig {
                env: list(env),
                exposed_ports: list(exposed),
                ..ContainerConfig::default()
            }),
            ..ContainerInspectResponse::default()
        };
        ports(&container, "db").map_err(|error| error.to_string())
    }

    #[test]
    fn the_port_that_a_healthcheck_names_is_waited_for() {
        let exposed = ["6379/tcp", "80/tcp", "53/udp"];
        assert_eq!(of(&["A=b"], &exposed).unwrap(), [80, 6379]);
        let named = of(&["A=b", "Healthcheck_TCP_port=5432"], &exposed);
        assert_eq!(named.unwrap(), [5432]);
        let wrong = of(&["HEALTHCHECK_TCP_PORT=pg"], &exposed).unwrap_err();
        assert!(wrong.contains("db is \"pg\", which is no port"), "{wrong}");
        let many: Vec<String> = (1000..2000).map(|port| format!("{port}/tcp")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(of(&[], &many).unwrap().len(), MOST_PORTS);
    }
}
