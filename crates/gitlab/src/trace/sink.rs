//! What writers and the session share.

use parking_lot::{Mutex, MutexGuard};
use std::fmt;

use tokio::sync::Notify;

use super::buffer::Buffer;
use crate::Error;
use crate::mask::Masker;

/// Where writers put the output, and the session takes it from.
pub(super) struct Sink {
    content: Mutex<Content>,
    /// Wakes the session: there is something to send, or more than fits one piece.
    wake: Notify,
    /// So much wakes the session even before its time.
    piece: u64,
}

struct Content {
    masker: Masker,
    buffer: Buffer,
    /// GitLab has the trace up to here.
    stored: u64,
    closed: bool,
}

impl Sink {
    pub(super) fn new(masker: Masker, buffer: Buffer, piece: u64) -> Self {
        let stored = buffer.begin();
        let content = Content {
            masker,
            buffer,
            stored,
            closed: false,
        };
        Self {
            content: Mutex::new(content),
            wake: Notify::new(),
            piece,
        }
    }

    /// Appends output. What comes after the end is dropped.
    pub(super) fn write(&self, text: &[u8]) {
        let mut content = self.lock();
        if content.closed {
            return;
        }
        let before = content.buffer.end() - content.stored;
        let shown = content.masker.push(text);
        content.buffer.append(&shown);
        let after = content.buffer.end() - content.stored;
        drop(content);
        if (before == 0 && after > 0) || (before < self.piece && after >= self.piece) {
            self.wake.notify_one();
        }
    }

    /// Masks further values from here on.
    pub(super) fn add_masks(&self, values: &[String]) -> Result<(), Error> {
        self.lock().masker.add(values)
    }

    /// Ends the output: gives out what the masker held back, and takes nothing more.
    pub(super) fn close(&self) {
        let mut content = self.lock();
        if !content.closed {
            let shown = content.masker.finish();
            content.buffer.append(&shown);
            content.closed = true;
        }
    }

    /// Notes how much GitLab has.
    pub(super) fn set_stored(&self, stored: u64) {
        self.lock().stored = stored;
    }

    /// Looks at the buffer.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Buffer) -> T) -> T {
        look(&self.lock().buffer)
    }

    /// Waits until a writer wakes the session.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        // Nothing in here panics half-way; a writer's panic elsewhere must not end the trace.
        self.content.lock()
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}
