//! Records for the watchdog that the agent's loop runs.

use std::time::Duration;

use super::notes::Notes;
use crate::clock::Clock;

/// How often that is recorded.
const AGAIN: Duration = Duration::from_secs(5);

/// Records it for as long as the loop asks for it.
#[derive(Debug)]
pub(super) struct Pulse {
    /// `None` without a watchdog.
    notes: Option<Notes>,
    clock: Clock,
    /// When it was last recorded.
    noted: Option<Duration>,
}

impl Pulse {
    pub(super) fn new(notes: Option<Notes>, clock: Clock) -> Self {
        Self {
            notes,
            clock,
            noted: None,
        }
    }

    /// Records it, unless that was done a moment ago.
    pub(super) async fn note(&mut self) {
        let Some(notes) = &self.notes else { return };
        if !self.left().is_zero() {
            return;
        }
        let now = self.clock.steady();
        if let Err(error) = notes.note_alive(now).await {
            tracing::error!(%error, "the watchdog can't be told that the agent is alive");
        }
        self.noted = Some(now);
    }

    /// Returns when it is time to record it again; without a watchdog, never.
    pub(super) async fn due(&self) {
        if self.notes.is_none() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.left()).await;
    }

    /// Keeps recording it while the loop waits for `work`, because a call to the ledger may take
    /// longer than the time between two notes. `work` limits its own time.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.due() => {}
            }
            self.note().await;
        }
    }

    fn left(&self) -> Duration {
        let since = |noted| self.clock.steady().saturating_sub(noted);
        self.noted
            .map_or(Duration::ZERO, |noted| AGAIN.saturating_sub(since(noted)))
    }
}
