//! The world's Docker network, whose gateway is the address of all parts.

use std::net::IpAddr;

use bollard::Docker;
use bollard::models::NetworkCreateRequest;

use crate::engine::labels;
use crate::{Error, Result};

/// A network of a world.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) gateway: IpAddr,
}

impl Network {
    /// Creates the network `onspot-<id>`.
    pub(super) async fn create(docker: &Docker, world: &str) -> Result<Self> {
        let name = format!("onspot-{world}");
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels::of(world, "network")),
            ..NetworkCreateRequest::default()
        };
        docker
            .create_network(request)
            .await
            .map_err(Error::docker(format!("make the network {name}")))?;
        let gateway = gateway(docker, &name).await?;
        Ok(Self { name, gateway })
    }
}

async fn gateway(docker: &Docker, name: &str) -> Result<IpAddr> {
    let found = docker
        .inspect_network(name, None)
        .await
        .map_err(Error::docker(format!("look at the network {name}")))?;
    let configs = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    configs
        .into_iter()
        .filter_map(|config| config.gateway)
        // Some engines return the gateway with its prefix length.
        .filter_map(|gateway| gateway.split('/').next()?.parse::<IpAddr>().ok())
        .find(IpAddr::is_ipv4)
        .ok_or_else(|| Error::Other(format!("the network {name} has no gateway")))
}
