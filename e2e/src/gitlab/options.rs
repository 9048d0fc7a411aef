//! How the server is set up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::error::GitLabError;

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct GitLabOptions {
    /// Where it listens; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The address given to runners and jobs. By default the listening address, or one of this
    /// host's that containers reach too if it listens on all.
    pub external_url: Option<Url>,
    /// A folder for repositories and artifacts.
    pub dir: PathBuf,
    /// The user's personal access token. By default a random one.
    pub token: Option<String>,
    /// Lets runners register the old way, by `POST /api/v4/runners`.
    pub registration_token: Option<String>,
    /// How long a request for a job is held open when there is none: GitLab's 50 s by default.
    pub hold: Duration,
    /// What runners are told about how often to send their trace.
    pub trace_interval: Duration,
    /// A trace longer than this (bytes) fails its job.
    pub trace_limit: u64,
    /// An artifact larger than this (bytes) is refused with 413.
    pub artifact_limit: u64,
    /// How often a final report is answered with 202 before it gets 200.
    pub accept_rounds: u32,
    /// What a runner gets, beyond a job's timeout, to report the timeout itself.
    pub timeout_grace: Duration,
    /// Separate caches for protected branches: GitLab appends `-protected` to the keys then.
    pub separate_caches: bool,
}

impl GitLabOptions {
    /// The defaults, on this address and with this folder.
    pub fn new(bind: SocketAddr, dir: impl Into<PathBuf>) -> Self {
        Self {
            bind,
            external_url: None,
            dir: dir.into(),
            token: None,
            registration_token: None,
            hold: Duration::from_secs(50),
            trace_interval: Duration::from_secs(3),
            trace_limit: 100 << 20,
            artifact_limit: 100 << 20,
            accept_rounds: 0,
            timeout_grace: Duration::from_secs(10),
            separate_caches: false,
        }
    }

    /// On a free port of the loopback interface.
    pub fn local(dir: impl Into<PathBuf>) -> Self {
        Self::new(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), dir)
    }

    /// The address to give out when the server listens at this one.
    pub(super) fn url_at(&self, address: SocketAddr) -> Result<Url, GitLabError> {
        if let Some(url) = &self.external_url {
            return Ok(url.clone());
        }
        let mut address = address;
        if address.ip().is_unspecified() {
            address.set_ip(own_address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        let text = format!("http://{address}");
        Url::parse(&text).map_err(|source| GitLabError::Url { text, source })
    }
}

/// This host's address on the way to others. Nothing is sent to find it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation: only the route to it is looked up.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
