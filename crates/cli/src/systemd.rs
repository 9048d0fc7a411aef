//! Tells systemd how this process is: `sd_notify(3)` over its socket.

use std::convert::Infallible;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The line to systemd; where there is none, telling does nothing.
#[derive(Debug)]
pub(crate) struct Notifier {
    socket: Option<UnixDatagram>,
}

impl Notifier {
    /// Connects to the socket that systemd names in the environment.
    pub(crate) fn from_env() -> Self {
        let Ok(name) = std::env::var("NOTIFY_SOCKET") else {
            return Self { socket: None };
        };
        match connect(&name) {
            Ok(socket) => Self {
                socket: Some(socket),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot reach systemd's notification socket");
                Self { socket: None }
            }
        }
    }

    /// The process does its work now.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The process is about to end.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Tells systemd that the process lives, twice in each interval that its watchdog allows.
    pub(crate) async fn keep_alive(&self) -> Infallible {
        let Some(interval) = watchdog_interval() else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval(interval / 2);
        loop {
            ticks.tick().await;
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::warn!(%error, state, "systemd could not be told");
        }
    }
}

/// How often systemd wants to hear of this very process.
fn watchdog_interval() -> Option<Duration> {
    let meant = std::env::var("WATCHDOG_PID")
        .ok()
        .and_then(|pid| pid.parse::<u32>().ok());
    if meant.is_some_and(|pid| pid != std::process::id()) {
        return None;
    }
    let microseconds = std::env::var("WATCHDOG_USEC").ok()?.parse::<u64>().ok()?;
    (microseconds > 0).then(|| Duration::from_micros(microseconds))
}

/// A name that begins with `@` is in Linux's abstract namespace.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_it_under_a_path_and_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier {
            socket: connect(path.to_str().unwrap()).ok(),
        };
        notifier.ready();
        let mut text = [0; 16];
        let length = listener.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"READY=1");

        let name = format!("onspot-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier {
            socket: connect(&format!("@{name}")).ok(),
        };
        notifier.stopping();
        let length = listener.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"STOPPING=1");
    }

    #[test]
    fn without_systemd_nothing_happens() {
        Notifier { socket: None }.ready();
    }
}
