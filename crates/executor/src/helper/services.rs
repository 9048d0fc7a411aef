//! Waits for a job's services.

use std::time::Duration;

use futures::future::try_join_all;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::HelperError;
use super::request::{HelperAnswer, ServiceAddress, WaitForServices};

/// The pause between two tries of a port.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Waits until each service has opened one of its ports. One that does not in time is an error, so
/// that the caller, whose clock stands still while the job is frozen, can ask again.
pub(super) async fn wait(request: WaitForServices) -> Result<HelperAnswer, HelperError> {
    let limit = Duration::from_secs(request.seconds);
    let waits = request.services.iter().map(|service| async move {
        timeout(limit, up(service)).await.map_err(|_| {
            HelperError::Request(format!(
                "service {} has not opened a port after {} s (tried {})",
                service.name,
                request.seconds,
                service
                    .ports
                    .iter()
                    .map(u16::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
            ))
        })
    });
    try_join_all(waits).await?;
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
