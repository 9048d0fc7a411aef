//! Checks whether a job's services have started, and shows the logs of those that have not.

use std::time::Duration;

use bollard::models::NetworkConnectRequest;
use futures::future::join_all;

use super::container;
use super::helper::Helper;
use super::job::DockerJob;
use super::out_of_memory;
use super::service::Service;
use crate::error::Error;
use crate::helper::request::{ServiceAddress, WaitForServices};
use crate::helper::{HelperCall, HelperRequest};
use onspot_gitlab::TraceWriter;

/// How much longer the helper tries than we wait, so that the helper does not decide the limit.
const LONGER: Duration = Duration::from_secs(10);

/// The result of waiting for a service.
enum Came {
    Up,
    Died(i32),
    NotInTime,
}

impl DockerJob<'_> {
    /// Waits until the services take connections. The helper tries it from within their network. A
    /// service that does not is only a warning with its log: the job will fail by itself if it
    /// needs the service.
    pub(super) async fn wait_for_services(&self, trace: &TraceWriter) -> Result<(), Error> {
        let limit = self.inner.settings.docker.patience_with_services();
        let expected: Vec<&Service> = self
            .services
            .iter()
            .filter(|service| !service.ports.is_empty())
            .collect();
        let (Some(helper), false) = (&self.helper, expected.is_empty() || limit.is_zero()) else {
            return Ok(());
        };
        if let Some(network) = &self.network {
            let request = NetworkConnectRequest {
                container: helper.id.clone(),
                ..NetworkConnectRequest::default()
            };
            let connected = self.inner.docker.connect_network(network, request).await;
            connected.map_err(Error::docker("join the job's network"))?;
        }
        trace.info(&format!(
            "Waiting for services to be up and running (timeout {} seconds)...",
            limit.as_secs()
        ));
        let waits = expected.iter().map(|service| async {
            match self.wait_for(service, helper, trace).await? {
                Came::Up => {}
                Came::Died(code) => {
                    let what = self.death(service, code).await;
                    service.tell(&self.inner.docker, &what, trace).await;
                }
                Came::NotInTime => {
                    let ports: Vec<String> = service.ports.iter().map(u16::to_string).collect();
                    let (ports, seconds) = (ports.join(", "), limit.as_secs());
                    let what = format!("has not opened port {ports} after {seconds} s");
                    service.tell(&self.inner.docker, &what, trace).await;
                }
            }
            Ok(())
        });
        join_all(waits).await.into_iter().collect()
    }

    async fn wait_for(
        &self,
        service: &Service,
        helper: &Helper,
        trace: &TraceWriter,
    ) -> Result<Came, Error> {
        let limit = self.inner.settings.docker.patience_with_services();
        let up = async {
            // Without an address it is already dead, or in a network that we cannot inspect.
            let Some(address) = service.address.clone() else {
                return std::future::pending().await;
            };
            let request = WaitForServices {
                seconds: (limit + LONGER).as_secs(),
                services: vec![ServiceAddress {
                    name: service.name.clone(),
                    address,
                    ports: service.ports.clone(),
                }],
            };
            let call = HelperCall {
                place: self.plan.place.clone(),
                request: HelperRequest::WaitForServices(request),
            };
            loop {
                let freezes = self.gate.closings();
                let answer = self.ask(&helper.id, &call, trace).await;
                // A frozen helper's own time passes.
                if answer.is_ok() || self.gate.closings() == freezes {
                    return answer;
                }
            }
        };
        tokio::select! {
            answer = up => answer.map(|_| Came::Up),
            code = container::exit_code(&self.inner.docker, &service.id) => code.map(Came::Died),
            () = self.gate.sleep(limit) => Ok(Came::NotInTime),
        }
    }

    /// Reports the services that have died since, if any: often that is why a script fails.
    pub(super) async fn tell_of_the_dead(&self, trace: &TraceWriter) {
        let docker = &self.inner.docker;
        let looks = self.services.iter().map(|service| async move {
            if let Some(code) = container::died(docker, &service.id).await
                && code != 0
            {
                let what = self.death(service, code).await;
                service.tell(docker, &what, trace).await;
            }
        });
        join_all(looks).await;
    }

    async fn death(&self, service: &Service, code: i32) -> String {
        match out_of_memory::of_container(&self.inner.docker, &service.id, code).await {
            Some(had) => had,
            None => format!("ended with exit code {code}"),
        }
    }
}
