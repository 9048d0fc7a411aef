//! The server's options.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::error::Error;

/// The server's options; see [`MockGitlab::builder`](crate::MockGitlab::builder).
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) bind: SocketAddr,
    pub(crate) external_url: Option<Url>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) token: Option<String>,
    pub(crate) registration_token: Option<String>,
    pub(crate) hold: Duration,
    pub(crate) trace_interval: Duration,
    pub(crate) trace_limit: u64,
    pub(crate) artifact_limit: u64,
    pub(crate) accept_rounds: u32,
    pub(crate) timeout_grace: Duration,
    pub(crate) separate_caches: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            external_url: None,
            dir: None,
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
}

/// A method for each option.
macro_rules! options {
    ($($(#[$doc:meta])+ $name:ident($value:ident: $type:ty) = $set:expr;)+) => {
        impl Builder {$(
            $(#[$doc])+
            #[must_use]
            pub fn $name(mut self, $value: $type) -> Self {
                self.$name = $set;
                self
            }
        )+}
    };
}

options! {
    /// Where it listens; port 0 takes a free one. By default a free port of the loopback interface.
    bind(address: impl Into<SocketAddr>) = address.into();
    /// The address given to runners and jobs. By default the listening address; if it listens on
    /// all, an address of this host that containers can reach too.
    external_url(url: Url) = Some(url);
    /// A folder for repositories and artifacts. By default a temporary one.
    dir(path: impl Into<PathBuf>) = Some(path.into());
    /// The user's personal access token. By default a random one.
    token(token: impl Into<String>) = Some(token.into());
    /// Allows runners to register by the old `POST /api/v4/runners`.
    registration_token(token: impl Into<String>) = Some(token.into());
    /// How long a request for a job is held open when there is none: GitLab's 50 s by default.
    hold(time: Duration) = time;
    /// How often runners are asked to send their trace: every 3 s by default.
    trace_interval(time: Duration) = time;
    /// A trace longer than this fails its job: 100 MiB by default.
    trace_limit(bytes: u64) = bytes;
    /// An artifact larger than this is refused with 413: 100 MiB by default.
    artifact_limit(bytes: u64) = bytes;
    /// How often a final report is answered with 202 before 200: never by default.
    accept_rounds(times: u32) = times;
    /// How long after a job's timeout its runner may still report the timeout itself: 10 s by
    /// default.
    timeout_grace(time: Duration) = time;
    /// Separate caches for protected branches: GitLab then appends `-protected` to the keys.
    separate_caches(yes: bool) = yes;
}

impl Builder {
    /// The address to give out when the server listens at this one.
    pub(crate) fn url_at(&self, address: SocketAddr) -> Result<Url, Error> {
        if let Some(url) = &self.external_url {
            return Ok(url.clone());
        }
        let mut address = address;
        if address.ip().is_unspecified() {
            address.set_ip(own_address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        let text = format!("http://{address}");
        Url::parse(&text).map_err(|source| Error::Url { text, source })
    }
}

/// This host's address towards other hosts. Nothing is sent to find it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address reserved for documentation: only the route to it is looked up.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
