//! The AWS look-alike behind the proxy: LocalStack in a container.

use std::time::Duration;

use bollard::models::PortBinding;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use super::client::http_client;
use crate::engine::labels;
use crate::poll::{self, Look};
use crate::{Error, Result, images};

/// LocalStack's port, for all services.
const PORT: u16 = 4566;

/// Time limit for its start.
const BOOT: Duration = Duration::from_mins(2);

/// A running LocalStack; removed when dropped.
#[derive(Debug)]
pub struct LocalStack {
    container: ContainerAsync<GenericImage>,
    address: String,
}

impl LocalStack {
    /// Starts one as a part of `world` and waits until it answers.
    pub async fn start(world: &str, region: &str) -> Result<Self> {
        let failed = |source| Error::Container {
            what: "LocalStack".to_owned(),
            source,
        };
        let (name, tag) = images::LOCALSTACK
            .name
            .split_once(':')
            .unwrap_or((images::LOCALSTACK.name, "latest"));
        let container = GenericImage::new(name, tag)
            .with_exposed_port(PORT.tcp())
            .with_wait_for(WaitFor::Nothing)
            .with_labels(labels::of(world, "localstack"))
            .with_env_var("DEFAULT_REGION", region)
            .with_host_config_modifier(|config| {
                // For this host only: it accepts any credentials, unlike the proxy in front of it.
                let binding = PortBinding {
                    host_ip: Some("127.0.0.1".to_owned()),
                    host_port: Some(String::new()),
                };
                config.port_bindings = Some([(format!("{PORT}/tcp"), Some(vec![binding]))].into());
                config.publish_all_ports = Some(false);
            })
            .start()
            .await
            .map_err(failed)?;
        let port = container.get_host_port_ipv4(PORT).await.map_err(failed)?;
        let address = format!("127.0.0.1:{port}");
        let health = format!("http://{address}/_localstack/health");
        let client = http_client()?;
        poll::until("LocalStack answers", BOOT, || async {
            let answer = client
                .get(&health)
                .send()
                .await
                .map_err(Error::http("ask for its health"))?;
            Ok(if answer.status().is_success() {
                Look::There(())
            } else {
                Look::NotYet(answer.status().to_string())
            })
        })
        .await?;
        Ok(Self { container, address })
    }

    /// Removes it.
    pub async fn remove(self) -> Result<()> {
        let failed = |source| Error::Container {
            what: "LocalStack".to_owned(),
            source,
        };
        self.container.rm().await.map_err(failed)
    }

    /// `host:port` on this host.
    pub fn address(&self) -> &str {
        &self.address
    }
}
