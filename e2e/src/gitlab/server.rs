//! The running server: its state, how to change it, and how to wait for changes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::faults::Faults;
use super::options::GitLabOptions;
use super::state::State;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) options: GitLabOptions,
    /// The address given out to runners and jobs.
    pub(super) url: Url,
    pub(super) faults: Faults,
    /// Ends long polls and the server.
    pub(super) stop: CancellationToken,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl Server {
    pub(super) fn new(options: GitLabOptions, url: Url, state: State) -> Self {
        Self {
            options,
            url,
            faults: Faults::default(),
            stop: CancellationToken::new(),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that failed while it looked must not hide what it found from the others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Look at the state.
    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Change the state, and wake whoever waits for a change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Wait until `look` finds something; `None` when the time is up or the server stops.
    pub(super) async fn wait_for<T>(
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
