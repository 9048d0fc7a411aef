//! Detects uploads that have stalled.
//!
//! An HTTP client's read timeout starts when a request is sent, so that it would end a long upload
//! that is still in progress. So the body is watched instead: the upload is alive while bytes are
//! read from it.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Watches one upload.
#[derive(Debug, Clone)]
pub struct Stall {
    /// How long no bytes may be read from the body.
    body: Duration,
    /// How long the answer may take after the whole body was read: the system still has to send
    /// buffered bytes, and the server may have to forward them.
    answer: Duration,
    /// When bytes were last read, and whether the body's end was reached.
    last: Arc<Mutex<(Instant, bool)>>,
}

impl Stall {
    /// The body may stall for `body`, the answer may take `answer`.
    pub fn new(body: Duration, answer: Duration) -> Self {
        Self {
            body,
            answer,
            last: Arc::new(Mutex::new((Instant::now(), false))),
        }
    }

    /// Wraps the body so that reads from it are noticed.
    pub fn watch<S: Stream>(&self, body: S) -> impl Stream<Item = S::Item> + use<S> {
        let (each, end) = (self.clone(), self.clone());
        let end = futures::stream::once(async move { end.note(true) }).filter_map(async |()| None);
        body.inspect(move |_| each.note(false)).chain(end)
    }

    /// Waits for the upload, or for a further part of its answer; `None` if it stalls.
    pub async fn guard<T>(&self, upload: impl Future<Output = T>) -> Option<T> {
        let mut upload = std::pin::pin!(upload);
        let was_taken = self.last.lock().1;
        self.note(was_taken);
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

    fn note(&self, is_end: bool) {
        *self.last.lock() = (Instant::now(), is_end);
    }

    fn deadline(&self) -> Instant {
        match *self.last.lock() {
            (last, false) => last + self.body,
            (last, true) => last + self.answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A body that yields a piece every `every`.
    fn slow(pieces: usize, every: Duration) -> impl Stream<Item = usize> {
        stream::iter(0..pieces).then(move |piece| async move {
            sleep(every).await;
            piece
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_upload_may_take_long() {
        let stall = Stall::new(2 * SECOND, 2 * SECOND);
        let body = stall.watch(slow(100, SECOND));
        let upload = async { body.count().await };
        assert_eq!(stall.guard(upload).await, Some(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_upload_is_ended() {
        let stall = Stall::new(2 * SECOND, 100 * SECOND);
        let body = stall.watch(slow(3, 3 * SECOND));
        assert_eq!(stall.guard(body.count()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_has_its_own_timeout() {
        let stall = Stall::new(SECOND, 5 * SECOND);
        let answered = |after: u32| {
            let body = stall.watch(stream::iter(0..3));
            async move {
                body.count().await;
                sleep(after * SECOND).await;
            }
        };
        assert_eq!(stall.guard(answered(4)).await, Some(()));
        let stall = Stall::new(SECOND, 5 * SECOND);
        let body = stall.watch(stream::iter(0..3));
        let upload = async {
            body.count().await;
            sleep(6 * SECOND).await;
        };
        assert_eq!(stall.guard(upload).await, None);
    }
}
