//! A job's trace: what is written to it, and how it reaches GitLab.
//!
//! A [`TraceWriter`] takes the job's output at any speed; a [`TraceSession`] sends it in the
//! background, says that the job is alive while there is no output, and learns what has become of
//! the job meanwhile. At any time one session writes a trace; another one (on another machine) can
//! go on where it ended, and a session that finds out that somebody else wrote stops for good.

mod buffer;
mod pace;
mod session;
mod sink;
mod writer;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use session::TraceSession;
pub use writer::TraceWriter;

use crate::update::TraceSummary;

/// A place in a trace, and what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracePosition {
    /// How many bytes stand before it.
    pub offset: u64,
    /// CRC-32 (IEEE) of those bytes, where it is known.
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

/// Where a session begins to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceStart {
    /// Here: nobody else has written since. So for a job just received
    /// ([`TracePosition::START`]).
    At(TracePosition),
    /// At the trace's end: GitLab is asked where that is.
    End {
        /// Where it ended last. If it still does, its checksum is good for this session too.
        last_known: Option<TracePosition>,
    },
}

/// How a trace is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOptions {
    /// The time between two pieces, until GitLab says another.
    pub interval: Duration,
    /// After this time without a message GitLab is told that the job is alive.
    pub silence: Duration,
    /// How much is taken, in bytes, from this session on; the rest of the output is dropped.
    pub limit: usize,
    /// How long [`TraceSession::flush`] and [`TraceSession::close`] try.
    pub patience: Duration,
    /// What follows these prefixes is masked, besides GitLab's own tokens
    /// ([`token_mask_prefixes`](crate::job::GitLabFeatures::token_mask_prefixes)).
    pub token_prefixes: Vec<String>,
}

impl Default for TraceOptions {
    /// As GitLab Runner does it: every 3 s, a sign of life after 30 s, 4 MiB.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3),
            silence: Duration::from_secs(30),
            limit: 4 * 1024 * 1024,
            patience: Duration::from_mins(1),
            token_prefixes: Vec::new(),
        }
    }
}
