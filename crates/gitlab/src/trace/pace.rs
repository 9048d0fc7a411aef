//! Decides when to send what, and interprets the answers: the session without its clock and
//! network.

use std::time::Duration;

use tokio::time::Instant;

use super::TraceOptions;
use crate::Error;
use crate::remote::Remote;
use crate::response::{PatchAnswer, PatchOutcome, RemoteStatus, UpdateAnswer, UpdateOutcome};
use onspot_patience::Backoff;

/// Maximum size of a piece, in bytes.
pub(super) const PIECE: u64 = 1024 * 1024;

/// After a failure, a caller that waits for the trace waits no longer than this.
const URGENT_PAUSE: Duration = Duration::from_secs(1);

/// What the session does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Sends a piece that begins at this offset.
    Send(u64),
    /// Sends a keep-alive.
    SayAlive,
    /// Waits until then at the latest.
    Wait(Instant),
    /// Nothing more.
    Over,
}

/// The pause after a failure.
#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Instant,
    until: Instant,
}

/// The state of the trace in GitLab, as far as the session knows.
#[derive(Debug)]
pub(super) struct Pace {
    /// Where this session began.
    begin: u64,
    /// GitLab has stored the trace up to here.
    stored: u64,
    /// This session has never sent a byte after this offset.
    sent: u64,
    interval: Duration,
    silence: Duration,
    /// When the next piece is sent, unless it is urgent.
    next_piece: Instant,
    /// When GitLab answered last.
    last_contact: Instant,
    /// Nothing is sent until its end, after a failure.
    pause: Option<Pause>,
    backoff: Backoff,
    /// GitLab corrected the offset and has accepted nothing since.
    corrected: bool,
    remote: Remote,
}

impl Pace {
    pub(super) fn new(begin: u64, options: &TraceOptions, now: Instant) -> Self {
        Self {
            begin,
            stored: begin,
            sent: begin,
            interval: options.interval,
            silence: options.silence,
            next_piece: now,
            last_contact: now,
            pause: None,
            backoff: new_backoff(options.interval),
            corrected: false,
            remote: Remote::Running,
        }
    }

    /// The next step for a buffer that ends at `end`. `urgent`: a caller waits for it.
    pub(super) fn step(&self, end: u64, urgent: bool, now: Instant) -> Step {
        if self.remote.is_over() {
            return Step::Over;
        }
        if let Some(pause) = self.pause {
            let until = if urgent {
                pause.until.min(pause.since + URGENT_PAUSE)
            } else {
                pause.until
            };
            if until > now {
                return Step::Wait(until);
            }
        }
        let waiting = end.saturating_sub(self.stored);
        if waiting > 0 && (urgent || waiting >= PIECE || now >= self.next_piece) {
            return Step::Send(self.stored);
        }
        let silent = self.last_contact + self.silence;
        if now >= silent {
            return Step::SayAlive;
        }
        Step::Wait(if waiting > 0 {
            self.next_piece.min(silent)
        } else {
            silent
        })
    }

    /// Notes that a piece is about to be sent.
    pub(super) fn sending(&mut self, start: u64, length: u64) {
        self.sent = self.sent.max(start + length);
    }

    /// Processes the answer to a piece.
    pub(super) fn sent(
        &mut self,
        start: u64,
        length: u64,
        result: Result<&PatchAnswer, &Error>,
        now: Instant,
    ) {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return self.failed(error, now),
        };
        self.contact(answer.interval, answer.remote, now);
        match answer.outcome {
            PatchOutcome::Accepted => {
                self.stored = start + length;
                self.corrected = false;
                self.next_piece = now + self.interval;
            }
            PatchOutcome::Offset(offset) => self.correct(offset, start, now),
            PatchOutcome::Refused => self.end(Remote::Gone),
        }
    }

    /// Processes the answer to a keep-alive.
    pub(super) fn said_alive(&mut self, result: Result<&UpdateAnswer, &Error>, now: Instant) {
        match result {
            Ok(answer) => {
                self.contact(answer.interval, answer.remote, now);
                if answer.outcome == UpdateOutcome::Refused {
                    self.end(Remote::Gone);
                }
            }
            Err(error) => self.failed(error, now),
        }
    }

    /// The job's status in GitLab.
    pub(super) fn remote(&self) -> Remote {
        self.remote
    }

    /// How many bytes GitLab has.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// GitLab's trace has another length than expected.
    fn correct(&mut self, offset: u64, start: u64, now: Instant) {
        // A length up to what was sent is explained by a lost answer or a lost piece. A longer
        // trace was written by somebody else; we do not have what precedes our start.
        if offset > self.sent || offset < self.begin {
            return self.end(Remote::Superseded);
        }
        self.stored = offset;
        // A single correction is fine; two in a row (or to the very offset that was sent) are a
        // fault.
        if self.corrected || offset == start {
            self.pause = Some(Pause {
                since: now,
                until: now + self.backoff.pause(),
            });
        }
        self.corrected = true;
    }

    fn contact(&mut self, interval: Option<Duration>, remote: RemoteStatus, now: Instant) {
        self.last_contact = now;
        self.pause = None;
        if !self.corrected {
            self.backoff = new_backoff(self.interval);
        }
        if let Some(interval) = interval {
            self.interval = interval;
        }
        match remote {
            RemoteStatus::Running => {}
            RemoteStatus::Canceling => {
                if self.remote == Remote::Running {
                    self.remote = Remote::Canceling;
                }
            }
            RemoteStatus::Canceled => self.end(Remote::Canceled),
            RemoteStatus::Failed => self.end(Remote::Gone),
        }
    }

    fn failed(&mut self, error: &Error, now: Instant) {
        let wait = self.backoff.pause_as(error.retry_after());
        self.pause = Some(Pause {
            since: now,
            until: now + wait,
        });
    }

    /// Only the first end counts.
    fn end(&mut self, remote: Remote) {
        if !self.remote.is_over() {
            self.remote = remote;
        }
    }
}

/// Pauses after failures: from a third of the interval (at most a second) up to a minute.
fn new_backoff(interval: Duration) -> Backoff {
    Backoff::new(
        (interval / 3).min(Duration::from_secs(1)),
        Duration::from_mins(1),
    )
}

#[cfg(test)]
mod tests;
