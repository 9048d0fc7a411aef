//! The buffer that writers and the session share.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::buffer::Buffer;
use super::stamp::{Stamper, Stream};
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
    /// By stream; without timestamps only the runner's own, which takes all output.
    channels: BTreeMap<Stream, Channel>,
    timestamps: bool,
    /// Whether the trace so far may end within a line, where a header would be none.
    within_line: bool,
    buffer: Buffer,
    /// GitLab has stored the trace up to here.
    stored: u64,
    closed: bool,
}

/// What happens to the text of a stream.
struct Channel {
    masker: Masker,
    stamper: Option<Stamper>,
}

impl Channel {
    fn new(stream: Stream, masker: Masker, timestamps: bool) -> Self {
        let stamper = timestamps.then(|| Stamper::new(stream));
        Self { masker, stamper }
    }

    fn push(&mut self, text: &[u8]) -> Vec<u8> {
        let shown = self.masker.push(text);
        self.stamp(shown)
    }

    /// Returns all that was held back.
    fn finish(&mut self) -> Vec<u8> {
        let shown = self.masker.finish();
        let mut shown = self.stamp(shown);
        if let Some(stamper) = &mut self.stamper {
            shown.extend(stamper.finish());
        }
        shown
    }

    fn stamp(&mut self, text: Vec<u8>) -> Vec<u8> {
        match &mut self.stamper {
            Some(stamper) => stamper.push(&text, Timestamp::now()),
            None => text,
        }
    }
}

impl Content {
    fn append(&mut self, text: &[u8]) {
        if !text.is_empty() && std::mem::take(&mut self.within_line) {
            self.buffer.append(b"\n");
        }
        self.buffer.append(text);
    }

    /// The stream whose headers and masks a stream's text gets.
    fn channel_of(&self, stream: Stream) -> Stream {
        if self.timestamps {
            stream
        } else {
            Stream::RUNNER
        }
    }

    fn push(&mut self, stream: Stream, text: &[u8]) {
        let (stream, timestamps) = (self.channel_of(stream), self.timestamps);
        if !self.channels.contains_key(&stream)
            && let Some(runner) = self.channels.get(&Stream::RUNNER)
        {
            let channel = Channel::new(stream, runner.masker.anew(), timestamps);
            self.channels.insert(stream, channel);
        }
        if let Some(channel) = self.channels.get_mut(&stream) {
            let shown = channel.push(text);
            self.append(&shown);
        }
    }
}

impl Sink {
    pub(super) fn new(masker: Masker, buffer: Buffer, piece: u64, timestamps: bool) -> Self {
        let stored = buffer.begin();
        let runner = Channel::new(Stream::RUNNER, masker, timestamps);
        let content = Content {
            channels: BTreeMap::from([(Stream::RUNNER, runner)]),
            timestamps,
            within_line: timestamps && buffer.begins_anywhere(),
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

    /// Appends a stream's output; after the end it is dropped.
    pub(super) fn write(&self, stream: Stream, text: &[u8]) {
        self.change(|content| content.push(stream, text));
    }

    /// Ends a stream: what was held back of it is shown.
    pub(super) fn end(&self, stream: Stream) {
        self.change(|content| {
            if stream != Stream::RUNNER
                && let Some(mut channel) = content.channels.remove(&stream)
            {
                let shown = channel.finish();
                content.append(&shown);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Content)) {
        let mut content = self.lock();
        if content.closed {
            return;
        }
        let before = content.buffer.end() - content.stored;
        change(&mut content);
        let after = content.buffer.end() - content.stored;
        drop(content);
        if (before == 0 && after > 0) || (before < self.piece && after >= self.piece) {
            self.wake.notify_one();
        }
    }

    /// Masks more values from here on.
    pub(super) fn add_masks(&self, values: &[String]) -> Result<(), Error> {
        let mut content = self.lock();
        let mut channels = content.channels.values_mut();
        channels.try_for_each(|channel| channel.masker.add(values))
    }

    /// Ends the output: releases what was held back and accepts nothing more.
    pub(super) fn close(&self) {
        let mut content = self.lock();
        if !content.closed {
            // The runner's own stream, the first, has the last word.
            let mut channels = std::mem::take(&mut content.channels);
            for channel in channels.values_mut().rev() {
                let shown = channel.finish();
                content.append(&shown);
            }
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
