//! When to send what, and what an answer means: the session without its clock and its network.

use std::time::Duration;

use tokio::time::Instant;

use super::TraceOptions;
use crate::Error;
use crate::remote::Remote;
use crate::response::{PatchAnswer, PatchOutcome, RemoteStatus, UpdateAnswer, UpdateOutcome};
use onspot_patience::Backoff;

/// The most that is sent at once, in bytes.
pub(super) const PIECE: u64 = 1024 * 1024;

/// Who waits for the trace need not wait longer than this after a failure.
const URGENT_PAUSE: Duration = Duration::from_secs(1);

/// What the session does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Sends what follows this offset.
    Send(u64),
    /// Says that the job is alive.
    SayAlive,
    /// Waits, at most until then.
    Wait(Instant),
    /// Nothing any more.
    Over,
}

/// The time after a failure.
#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Instant,
    until: Instant,
}

/// What a session knows of GitLab's side of a trace.
#[derive(Debug)]
pub(super) struct Pace {
    /// Where this session began.
    begin: u64,
    /// GitLab has the trace up to here.
    stored: u64,
    /// No byte behind this was ever sent by this session.
    sent: u64,
    interval: Duration,
    silence: Duration,
    /// The next piece goes out then, unless it is urgent.
    next_piece: Instant,
    /// When GitLab answered last.
    last_contact: Instant,
    /// After a failure nothing is sent for some time.
    pause: Option<Pause>,
    backoff: Backoff,
    /// GitLab corrected the offset, and has taken nothing since.
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

    /// What to do now, with a buffer that ends at `end`. `urgent`: somebody waits for it.
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

    /// Takes in what came of a piece.
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

    /// Takes in what came of a sign of life.
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

    /// What has become of the job.
    pub(super) fn remote(&self) -> Remote {
        self.remote
    }

    /// How much GitLab has.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// GitLab's trace has another length than this session thought.
    fn correct(&mut self, offset: u64, start: u64, now: Instant) {
        // A length up to what was sent is our own: a piece whose answer was lost, or a piece that
        // GitLab has lost. What is longer somebody else wrote; what lies before our beginning we
        // do not have.
        if offset > self.sent || offset < self.begin {
            return self.end(Remote::Superseded);
        }
        self.stored = offset;
        // Once is a correction, twice in a row (or the very offset that was sent) is a fault.
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

    /// The first end counts.
    fn end(&mut self, remote: Remote) {
        if !self.remote.is_over() {
            self.remote = remote;
        }
    }
}

/// After failures: from a third of the interval (a second) to a minute.
fn new_backoff(interval: Duration) -> Backoff {
    Backoff::new(
        (interval / 3).min(Duration::from_secs(1)),
        Duration::from_mins(1),
    )
}

#[cfg(test)]
mod tests;
