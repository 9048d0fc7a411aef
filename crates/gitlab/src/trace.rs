//! A job's trace: writing it and sending it to GitLab.
//!
//! A [`TraceWriter`] takes the job's output at any speed; a [`TraceSession`] sends it in the
//! background, sends keep-alives while there is no output, and learns the job's status in GitLab.
//! One session writes a trace at any time. Another one (on another machine) can continue where it
//! ended; a session that finds that somebody else has written stops for good.

mod buffer;
mod pace;
mod session;
mod sink;
mod stamp;
mod writer;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use session::TraceSession;
pub use stamp::Stream;
pub use writer::{TraceStream, TraceWriter};

use crate::update::TraceSummary;

/// A position in a trace, and the bytes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracePosition {
    /// How many bytes precede it.
    pub offset: u64,
    /// CRC-32 (IEEE) of those bytes, if known.
    pub crc32: Option<u32>,
}

impl TracePosition {
    /// The beginning of a trace.
    pub const START: Self = Self {
        offset: 0,
        crc32: Some(0),
    };
}

impl From<TracePosition> for TraceSummary {
    /// The whole trace, if it ends at this position.
    fn from(end: TracePosition) -> Self {
        Self {
            crc32: end.crc32,
            bytes: end.offset,
        }
    }
}

/// Where a session starts to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceStart {
    /// At this position: nobody else has written since. [`TracePosition::START`] for a job just
    /// received.
    At(TracePosition),
    /// At the trace's end, which GitLab is asked for.
    End {
        /// Its last known end. If that is still its end, the checksum is valid for this session
        /// too.
        last_known: Option<TracePosition>,
    },
}

/// How a trace is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOptions {
    /// The interval between two pieces, until GitLab sets another.
    pub interval: Duration,
    /// After this time without a message, GitLab gets a keep-alive.
    pub silence: Duration,
    /// How many bytes this session accepts; further output is dropped.
    pub limit: usize,
    /// How long [`TraceSession::flush`] and [`TraceSession::close`] keep trying.
    pub patience: Duration,
    /// Prefixes of tokens to mask, besides those of GitLab's own tokens
    /// ([`token_mask_prefixes`](crate::job::GitLabFeatures::token_mask_prefixes)).
    pub token_prefixes: Vec<String>,
    /// Whether each line begins with its time and stream (`FF_TIMESTAMPS`).
    pub timestamps: bool,
    /// Whether GitLab is told that the trace shows what debugging shows, so that it lets only
    /// developers read it.
    pub debug: bool,
}

impl Default for TraceOptions {
    /// As GitLab Runner: a piece every 3 s, a keep-alive after 30 s, 4 MiB.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3),
            silence: Duration::from_secs(30),
            limit: 4 * 1024 * 1024,
            patience: Duration::from_mins(1),
            token_prefixes: Vec::new(),
            timestamps: false,
            debug: false,
        }
    }
}
