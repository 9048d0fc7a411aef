//! Notifies systemd of this process's status: `sd_notify(3)` over its socket.

use std::convert::Infallible;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use onspot_runner::Liveness;

/// A loop without progress for this long is stuck: no single step takes half of it, even if another
/// system does not answer.
const STUCK_AFTER: Duration = Duration::from_secs(90);

/// The notification socket; without one, nothing is sent.
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

    /// The process is ready.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The process is stopping.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Feeds systemd's watchdog twice per interval, as long as all loops make progress. Once one is
    /// stuck, systemd hears nothing more and restarts the process.
    pub(crate) async fn keep_alive(&self, loops: &Liveness) -> Infallible {
        match watchdog_interval() {
            Some(interval) => self.keep_alive_every(interval / 2, loops).await,
            None => std::future::pending().await,
        }
    }

    async fn keep_alive_every(&self, pause: Duration, loops: &Liveness) -> Infallible {
        let mut ticks = tokio::time::interval(pause);
        loop {
            ticks.tick().await;
            let stuck = loops.stuck(STUCK_AFTER);
            if stuck.is_empty() {
                self.tell("WATCHDOG=1");
            } else {
                tracing::error!(?stuck, "a loop is stuck: systemd will restart this process");
            }
        }
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::warn!(%error, state, "systemd could not be notified");
        }
    }
}

/// How often systemd expects a notification of this process.
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
    fn systemd_is_notified_by_path_and_by_abstract_name() {
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

    /// The lines received so far.
    fn heard(listener: &UnixDatagram) -> usize {
        let mut text = [0; 16];
        let lines = std::iter::from_fn(|| listener.recv(&mut text).ok());
        lines.count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_loop_is_not_kept_alive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let notifier = Notifier {
            socket: connect(path.to_str().unwrap()).ok(),
        };
        let loops = Liveness::new();
        let beat = loops.watch("a loop");
        let story = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(30)).await;
                beat.now();
            }
            assert!(heard(&listener) >= 9, "it goes round");
            // From here on it makes no progress.
            tokio::time::sleep(STUCK_AFTER).await;
            heard(&listener);
            tokio::time::sleep(STUCK_AFTER).await;
            assert_eq!(heard(&listener), 0);
            beat.now();
            tokio::time::sleep(Duration::from_mins(1)).await;
            assert!(heard(&listener) > 0);
        };
        tokio::select! {
            () = story => {}
            never = notifier.keep_alive_every(Duration::from_secs(30), &loops) => match never {},
        }
    }

    #[test]
    fn without_systemd_nothing_happens() {
        Notifier { socket: None }.ready();
    }
}
