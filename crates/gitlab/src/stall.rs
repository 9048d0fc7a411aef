//! An upload that has come to a standstill: watched by what is taken of its body, as long as there
//! is something to take; then by the time the answer needs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::time::Instant;

/// Watches one upload.
#[derive(Clone, Debug)]
pub(crate) struct Stall {
    limit: Duration,
    last: Arc<Mutex<Instant>>,
}

impl Stall {
    /// Nothing may stand still for longer than this.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// The same body; what is taken of it is noticed.
    pub(crate) fn watch<S: Stream>(&self, body: S) -> impl Stream<Item = S::Item> + use<S> {
        let watch = self.clone();
        body.inspect(move |_| watch.set(Instant::now()))
    }

    /// Waits for an upload; `None` if it stands still.
    pub(crate) async fn guard<T>(&self, upload: impl Future<Output = T>) -> Option<T> {
        let mut upload = std::pin::pin!(upload);
        self.set(Instant::now());
        loop {
            let deadline = self.get() + self.limit;
            tokio::select! {
                done = &mut upload => return Some(done),
                () = tokio::time::sleep_until(deadline) => {
                    if self.get() + self.limit <= deadline {
                        return None;
                    }
                }
            }
        }
    }

    fn get(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, now: Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}
