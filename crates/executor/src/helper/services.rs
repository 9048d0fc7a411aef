//! Waits for a job's services.

use std::time::Duration;

use futures::future::join_all;
use onspot_gitlab::ansi;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::request::{HelperAnswer, ServiceAddress, WaitForServices};
use super::{HelperError, say};

/// The pause between two tries of a port.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Waits until each service has opened one of its ports. A service that does not is only a warning:
/// the job will fail by itself if it needs the service.
pub(super) async fn wait(request: WaitForServices) -> Result<HelperAnswer, HelperError> {
    let limit = Duration::from_secs(request.seconds);
    let waits = request.services.iter().map(|service| async move {
        if timeout(limit, up(service)).await.is_err() {
            say(&ansi::warning(&format!(
                "service {} has not opened a port after {} s (tried {})",
                service.name,
                request.seconds,
                service
                    .ports
                    .iter()
                    .map(u16::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
            )));
        }
    });
    join_all(waits).await;
    Ok(HelperAnswer::Done)
}

async fn up(service: &ServiceAddress) {
    loop {
        for &port in &service.ports {
            if TcpStream::connect((service.address.as_str(), port))
                .await
                .is_ok()
            {
                return;
            }
        }
        sleep(BETWEEN_TRIES).await;
    }
}
