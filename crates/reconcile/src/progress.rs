//! Progress events of a layer that applies a plan.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc;

/// An event while a plan is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Progress {
    /// Work on something began.
    Started {
        /// What is worked on, for example `create vpc onspot-ci`.
        what: String,
    },
    /// The work waits for something external.
    Waiting {
        /// What is worked on.
        what: String,
        /// The condition it waits for.
        why: String,
    },
    /// The work is done.
    Done {
        /// What was worked on.
        what: String,
        /// The id of the result in AWS, if there is one.
        id: Option<String>,
        /// How long it took.
        took: Duration,
    },
    /// The work failed; the error itself is returned to the caller.
    Failed {
        /// What was worked on.
        what: String,
        /// The error's text.
        error: String,
    },
}

/// Where progress is sent. A closed channel is no error: nobody has to listen.
pub type EventSender = mpsc::UnboundedSender<Progress>;

/// A channel for [`Progress`].
pub fn event_channel() -> (EventSender, mpsc::UnboundedReceiver<Progress>) {
    mpsc::unbounded_channel()
}

/// One piece of work that reports its own start, waits and end.
#[derive(Debug)]
pub struct Step<'a> {
    events: &'a EventSender,
    what: String,
    since: Instant,
}

impl<'a> Step<'a> {
    /// Reports [`Progress::Started`].
    pub fn start(events: &'a EventSender, what: impl Into<String>) -> Self {
        let what = what.into();
        send(events, Progress::Started { what: what.clone() });
        Self {
            events,
            what,
            since: Instant::now(),
        }
    }

    /// Reports [`Progress::Waiting`].
    pub fn waiting(&self, why: impl Into<String>) {
        send(
            self.events,
            Progress::Waiting {
                what: self.what.clone(),
                why: why.into(),
            },
        );
    }

    /// Reports [`Progress::Done`].
    pub fn done(self, id: Option<&str>) {
        let (id, took) = (id.map(str::to_owned), self.since.elapsed());
        send(
            self.events,
            Progress::Done {
                what: self.what,
                id,
                took,
            },
        );
    }

    /// Reports [`Progress::Failed`].
    pub fn failed(self, error: &impl fmt::Display) {
        send(
            self.events,
            Progress::Failed {
                what: self.what,
                error: error.to_string(),
            },
        );
    }
}

/// Sends an event, whether or not anybody listens.
fn send(events: &EventSender, progress: Progress) {
    // Without a receiver nobody is watching; the work continues all the same.
    let _ = events.send(progress);
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { what } => write!(f, "{what} …"),
            Self::Waiting { what, why } => write!(f, "{what}: waiting for {why}"),
            Self::Done {
                what,
                id: Some(id),
                took,
            } => {
                write!(f, "{what}: {id} ({:.1} s)", took.as_secs_f64())
            }
            Self::Done {
                what,
                id: None,
                took,
            } => {
                write!(f, "{what}: done ({:.1} s)", took.as_secs_f64())
            }
            Self::Failed { what, error } => write!(f, "{what}: failed: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_reports_start_wait_and_end() {
        let (events, mut received) = event_channel();
        let step = Step::start(&events, "create nat gateway");
        step.waiting("state available");
        step.done(Some("nat-1"));
        let mut lines = Vec::new();
        while let Ok(event) = received.try_recv() {
            lines.push(event.to_string());
        }
        assert_eq!(
            lines,
            [
                "create nat gateway …",
                "create nat gateway: waiting for state available",
                "create nat gateway: nat-1 (0.0 s)",
            ]
        );
    }

    #[test]
    fn nobody_has_to_listen() {
        let (events, received) = event_channel();
        drop(received);
        Step::start(&events, "x").failed(&"no");
    }
}
