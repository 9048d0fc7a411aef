//! The faulty cloud: a reverse proxy in front of LocalStack.
//!
//! It checks every signature as AWS does ([`sigv4`]), against the credentials issued in the world
//! ([`credentials`]), and records every call by principal ([`record`]). Bodies are streamed. Faults
//! (empty pools, throttling, outages) belong here; so far there is one: a refused signature.

pub mod credentials;
mod operation;
mod payload;
mod proxy;
pub mod record;
mod refusal;
pub mod sigv4;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};

pub use credentials::{Credential, Credentials, Principal};
pub use record::{Call, Calls};

use crate::{Error, Result};

/// The running proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct Cloud {
    address: SocketAddr,
    calls: Calls,
    credentials: Credentials,
    _stop: DropGuard,
}

impl Cloud {
    /// Serves on `bind` (port 0: any), forwarding to `upstream` (`host:port` of LocalStack).
    pub async fn serve(
        bind: SocketAddr,
        upstream: String,
        credentials: Credentials,
    ) -> Result<Self> {
        let what = || format!("listen on {bind} for the AWS look-alike");
        let listener = tokio::net::TcpListener::bind(bind)
            .await
            .map_err(Error::io(what()))?;
        let address = listener.local_addr().map_err(Error::io(what()))?;
        let calls = Calls::default();
        let app = proxy::app(Arc::new(proxy::Proxy::new(
            upstream,
            credentials.clone(),
            calls.clone(),
        )));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let serving = axum::serve(listener, app).into_future();
            tokio::select! {
                () = stopped.cancelled() => {}
                ended = serving => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the AWS look-alike's proxy ended");
                    }
                }
            }
        });
        Ok(Self {
            address,
            calls,
            credentials,
            _stop: stop.drop_guard(),
        })
    }

    /// The endpoint to give to AWS SDKs.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every call so far.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The credentials that are accepted.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}
