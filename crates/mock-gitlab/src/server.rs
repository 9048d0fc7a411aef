//! The running server: its state, changes to it, and waiting for changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::builder::Builder;
use crate::faults::Faults;
use crate::state::State;

/// Shared by all requests.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) options: Builder,
    /// Where repositories and artifacts are.
    pub(crate) dir: PathBuf,
    /// The address given out to runners and jobs.
    pub(crate) url: Url,
    pub(crate) faults: Arc<Faults>,
    /// Ends held requests and the server.
    pub(crate) stop: CancellationToken,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl Server {
    pub(crate) fn new(options: Builder, dir: PathBuf, url: Url) -> Self {
        let mut state = State::new(options.token.clone(), options.registration_token.clone());
        state.accept_rounds = options.accept_rounds;
        Self {
            options,
            dir,
            url,
            faults: Arc::default(),
            stop: CancellationToken::new(),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        }
    }

    /// Read the state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    /// Change the state, and wake everyone who waits for a change.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Wait until `look` returns something; `None` when the time is up or the server stops.
    pub(crate) async fn wait_for<T>(
        &self,
        bound: Duration,
        mut look: impl FnMut(&State) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changed.subscribe();
        let found = async {
            loop {
                if let Some(found) = self.read(&mut look) {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::select! {
            found = tokio::time::timeout(bound, found) => found.ok().flatten(),
            () = self.stop.cancelled() => None,
        }
    }
}
