//! The buffer that writers and the session share.

use parking_lot::{Mutex, MutexGuard};
use std::fmt;

use tokio::sync::Notify;

use super::buffer::Buffer;
use crate::Error;
use crate::mask::Masker;

/// Writers put output in, the session takes it out.
pub(super) struct Sink {
    content: Mutex<Content>,
    /// Wakes the session: there is output to send, or more than fits one piece.
    wake: Notify,
    /// This many bytes wake the session before its next interval.
    piece: u64,
}

struct Content {
    masker: Masker,
    buffer: Buffer,
    /// GitLab has stored the trace up to here.
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

    /// Appends output; after the end it is dropped.
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

    /// Masks more values from here on.
    pub(super) fn add_masks(&self, values: &[String]) -> Result<(), Error> {
        self.lock().masker.add(values)
    }

    /// Ends the output: releases what the masker held back and accepts nothing more.
    pub(super) fn close(&self) {
        let mut content = self.lock();
        if !content.closed {
            let shown = content.masker.finish();
            content.buffer.append(&shown);
            content.closed = true;
        }
    }

    /// Records how many bytes GitLab has stored.
    pub(super) fn set_stored(&self, stored: u64) {
        self.lock().stored = stored;
    }

    /// Gives access to the buffer.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Buffer) -> T) -> T {
        look(&self.lock().buffer)
    }

    /// Waits until a writer wakes the session.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        // Nothing in here can panic halfway, and a writer's panic elsewhere must not end the trace.
        self.content.lock()
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}
