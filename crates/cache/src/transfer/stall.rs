//! An upload that has come to a standstill.
//!
//! An HTTP client's timeout for reading counts from the moment a request is sent: an upload that
//! takes longer than it would fail while it goes on well. So it is watched from its body instead:
//! as long as bytes are taken from that, it goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::Instant;

/// How much longer than for a piece of the body is waited for the answer: what the system has
/// taken is not yet what the server has.
const FOR_ANSWER: u32 = 5;

/// Watches one upload.
#[derive(Debug, Clone)]
pub(super) struct Stall {
    limit: Duration,
    /// When bytes were last taken, and whether they were the last ones.
    last: Arc<Mutex<(Instant, bool)>>,
}

impl Stall {
    /// Nothing may stand still for longer than this.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: Arc::new(Mutex::new((Instant::now(), false))),
        }
    }

    /// The same body; what is taken of it is noticed.
    pub(super) fn watch<S: Stream>(&self, body: S) -> impl Stream<Item = S::Item> + use<S> {
        let (each, end) = (self.clone(), self.clone());
        let end = futures::stream::once(async move { end.note(true) }).filter_map(async |()| None);
        body.inspect(move |_| each.note(false)).chain(end)
    }

    fn note(&self, is_end: bool) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), is_end);
    }

    fn deadline(&self) -> Instant {
        match *self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            (last, false) => last + self.limit,
            (last, true) => last + self.limit * FOR_ANSWER,
        }
    }

    /// Waits for an upload; `None` if it stands still.
    pub(super) async fn guard<T>(&self, upload: impl Future<Output = T>) -> Option<T> {
        let mut upload = std::pin::pin!(upload);
        loop {
            let deadline = self.deadline();
            tokio::select! {
                done = &mut upload => return Some(done),
                () = tokio::time::sleep_until(deadline) => {
                    if self.deadline() <= deadline {
                        return None;
                    }
                }
            }
        }
    }
}
