//! Hashes a body while it is streamed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use sha2::{Digest, Sha256};

/// A body that must have a given SHA-256. If it differs, the stream ends in an error, so that the
/// reader drops the request, and [`Hashed::mismatch`] is set.
pub(super) struct Hashed {
    inner: Pin<Box<Body>>,
    hash: Sha256,
    expected: String,
    mismatch: Arc<AtomicBool>,
    done: bool,
}

impl Hashed {
    /// Wraps `body`, whose SHA-256 should be `expected` (hex). The second value tells afterwards
    /// whether it differed.
    pub(super) fn wrap(body: Body, expected: &str) -> (Body, Arc<AtomicBool>) {
        let mismatch = Arc::new(AtomicBool::new(false));
        let hashed = Self {
            inner: Box::pin(body),
            hash: Sha256::new(),
            expected: expected.to_owned(),
            mismatch: Arc::clone(&mismatch),
            done: false,
        };
        (Body::new(hashed), mismatch)
    }

    /// At the end of the body: whether its hash is the expected one.
    fn verdict(&mut self) -> Option<Result<Frame<Bytes>, axum::Error>> {
        self.done = true;
        let hash = hex::encode(std::mem::take(&mut self.hash).finalize());
        if hash == self.expected {
            return None;
        }
        self.mismatch.store(true, Ordering::SeqCst);
        Some(Err(axum::Error::new(std::io::Error::other(
            "the body is not what was signed",
        ))))
    }
}

impl HttpBody for Hashed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.done {
            return Poll::Ready(None);
        }
        match ready!(self.inner.as_mut().poll_frame(context)) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.hash.update(data);
                }
                // The receiver counts the bytes and may never ask for the end, so the verdict must
                // come with the last bytes.
                if self.inner.is_end_stream()
                    && let Some(error) = self.verdict()
                {
                    return Poll::Ready(Some(error));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => Poll::Ready(self.verdict()),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Reads a whole small body of up to `limit` bytes.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, String> {
    let limited = http_body_util::Limited::new(body, limit);
    let read = limited.collect().await.map_err(|error| error.to_string())?;
    Ok(read.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn through(body: &'static str, expected: &str) -> (bool, bool) {
        let (hashed, mismatch) = Hashed::wrap(Body::from(body), expected);
        let read = read(hashed, 1_000).await;
        (read.is_ok(), mismatch.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn only_the_signed_body_gets_through() {
        let hash = hex::encode(Sha256::digest("body"));
        assert_eq!(through("body", &hash).await, (true, false));
        assert_eq!(through("bodx", &hash).await, (false, true));
        assert_eq!(through("", &hash).await, (false, true));
        assert_eq!(
            through("", &hex::encode(Sha256::digest(""))).await,
            (true, false)
        );
    }
}
