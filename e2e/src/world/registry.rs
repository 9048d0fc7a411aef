//! The registry from which guests pull job images, a mirror of Docker Hub.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptions,
    TagImageOptionsBuilder,
};
use futures::TryStreamExt;

use super::client::http_client;
use crate::engine::labels;
use crate::poll::{self, Look};
use crate::{Error, Result, images};

const PORT: &str = "5000/tcp";

/// The registry's addresses.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    /// For guests: `http://<gateway>:<port>`.
    pub(super) mirror: String,
    /// For this host, whose engine trusts plain HTTP only on the loopback interface.
    local: String,
}

impl Registry {
    /// Starts a registry for the world.
    pub(super) async fn start(docker: &Docker, world: &str, gateway: IpAddr) -> Result<Self> {
        let bind = |ip: String| PortBinding {
            host_ip: Some(ip),
            host_port: Some(String::new()),
        };
        let ports = vec![bind(gateway.to_string()), bind("127.0.0.1".to_owned())];
        let body = ContainerCreateBody {
            image: Some(images::REGISTRY.name.to_owned()),
            labels: Some(labels::of(world, "registry")),
            host_config: Some(HostConfig {
                port_bindings: Some(HashMap::from([(PORT.to_owned(), Some(ports))])),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let name = format!("onspot-{world}-registry");
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let created = docker
            .create_container(Some(options), body)
            .await
            .map_err(Error::docker("make the registry"))?;
        docker
            .start_container(&created.id, None)
            .await
            .map_err(Error::docker("start the registry"))?;
        let found = docker
            .inspect_container(&created.id, None)
            .await
            .map_err(Error::docker("look at the registry"))?;
        let bindings = found
            .network_settings
            .and_then(|settings| settings.ports)
            .and_then(|ports| ports.get(PORT).cloned().flatten())
            .unwrap_or_default();
        let port_of = |ip: &str| {
            bindings
                .iter()
                .find(|binding| binding.host_ip.as_deref() == Some(ip))
                .and_then(|binding| binding.host_port.clone())
                .ok_or_else(|| Error::Other(format!("the registry is not published on {ip}")))
        };
        let registry = Self {
            mirror: format!("http://{gateway}:{}", port_of(&gateway.to_string())?),
            local: format!("127.0.0.1:{}", port_of("127.0.0.1")?),
        };
        registry.wait().await?;
        Ok(registry)
    }

    async fn wait(&self) -> Result<()> {
        let url = format!("http://{}/v2/", self.local);
        let client = http_client()?;
        poll::until("the registry answers", Duration::from_secs(30), || async {
            client
                .get(&url)
                .send()
                .await
                .map_err(Error::http("ask the registry"))?;
            Ok(Look::There(()))
        })
        .await
    }

    /// Pushes an image of this host's engine under its name on Docker Hub.
    pub(super) async fn push(&self, docker: &Docker, image: &str, name: &str) -> Result<()> {
        let (name, tag) = name.split_once(':').unwrap_or((name, "latest"));
        let there = format!("{}/{name}", self.local);
        let options = TagImageOptionsBuilder::new().repo(&there).tag(tag).build();
        docker
            .tag_image(image, Some(options))
            .await
            .map_err(Error::docker(format!("tag {image}")))?;
        let options = PushImageOptionsBuilder::new().tag(tag).build();
        let pushed = docker
            .push_image(&there, Some(options), None)
            .try_collect::<Vec<_>>()
            .await;
        // The tag was only needed for the push.
        let untagged = docker
            .remove_image(&format!("{there}:{tag}"), None::<RemoveImageOptions>, None)
            .await;
        pushed.map_err(Error::docker(format!(
            "push {image} to the world's registry"
        )))?;
        untagged
            .map(drop)
            .map_err(Error::docker(format!("untag {there}:{tag}")))
    }
}
