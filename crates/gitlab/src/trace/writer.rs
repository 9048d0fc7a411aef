//! The writing side of a trace.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::TracePosition;
use super::buffer::Buffer;
use super::sink::Sink;
use super::stamp::Stream;
use crate::mask::Masker;
use crate::{Error, ansi};

/// Takes a job's output. It never waits for GitLab, and drops nothing below the trace's limit.
/// Clones write to the same trace; output after the session's end is dropped.
#[derive(Clone, Debug)]
pub struct TraceWriter {
    sink: Arc<Sink>,
}

impl TraceWriter {
    pub(super) fn new(sink: Arc<Sink>) -> Self {
        Self { sink }
    }

    /// A writer without a session, which keeps its output (up to 4 MiB) for
    /// [`TraceWriter::contents`]: for tests, and for jobs that belong to no GitLab.
    ///
    /// # Errors
    /// See [`Masker::new`].
    pub fn detached(masks: &[String]) -> Result<Self, Error> {
        let limit = super::TraceOptions::default().limit;
        let buffer = Buffer::new(TracePosition::START, limit);
        Ok(Self {
            sink: Arc::new(Sink::new(Masker::new(masks)?, buffer, u64::MAX, false)),
        })
    }

    /// The masked output of this trace's writers so far, except an end that may become a secret.
    pub fn contents(&self) -> Vec<u8> {
        self.sink
            .read(|buffer| buffer.piece(buffer.begin(), usize::MAX).to_vec())
    }

    /// Masks more values in everything that this trace's writers write from here on.
    ///
    /// # Errors
    /// See [`Masker::new`]. The masks are then unchanged.
    pub fn add_masks(&self, values: &[String]) -> Result<(), Error> {
        self.sink.add_masks(values)
    }

    /// Writes output unchanged.
    pub fn write(&self, output: &[u8]) {
        self.sink.write(Stream::RUNNER, output);
    }

    /// A writer of another stream than the runner's own. Its lines do not mix with those of other
    /// streams if the trace has timestamps. Only one writer of a stream should exist at a time.
    pub fn stream(&self, stream: Stream) -> TraceStream {
        TraceStream {
            sink: Arc::clone(&self.sink),
            stream,
        }
    }

    /// Writes a line unchanged.
    pub fn line(&self, text: &str) {
        self.write(format!("{text}\n").as_bytes());
    }

    /// Writes a line of information from onspot.
    pub fn info(&self, text: &str) {
        self.line(&ansi::info(text));
    }

    /// Writes a warning line.
    pub fn warning(&self, text: &str) {
        self.line(&ansi::warning(text));
    }

    /// Writes a line about an error.
    pub fn error(&self, text: &str) {
        self.line(&ansi::error(text));
    }

    /// Begins a section that GitLab can fold, with a title line from onspot.
    pub fn section_start(&self, name: &str, title: &str, collapsed: bool) {
        self.line(&format!(
            "{}{}",
            ansi::section_start(unix_now(), name, collapsed),
            ansi::info(title)
        ));
    }

    /// Ends a section.
    pub fn section_end(&self, name: &str) {
        self.write(ansi::section_end(unix_now(), name).as_bytes());
    }
}

/// Writes one stream of a trace. When it is dropped, an unfinished line is ended.
#[derive(Debug)]
pub struct TraceStream {
    sink: Arc<Sink>,
    stream: Stream,
}

impl TraceStream {
    /// Writes output unchanged.
    pub fn write(&self, output: &[u8]) {
        self.sink.write(self.stream, output);
    }
}

impl Drop for TraceStream {
    fn drop(&mut self) {
        self.sink.end(self.stream);
    }
}

fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}
