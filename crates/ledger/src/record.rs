//! `run/job/<runner>/<id>`: the leader's knowledge about a job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{JobKey, WorkerId};
use crate::object::Object;
use crate::order::Order;
use crate::state::Step;
use crate::verdict::{Ending, Verdict};

/// A job's record. It is created before GitLab is told anything about the job, and deleted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Grows with every write.
    pub counter: u64,
    /// The job's names, for people.
    pub label: JobLabel,
    /// When GitLab's 201 was received.
    pub received_at: Timestamp,
    /// When waiting and all attempts must be over: GitLab's time limit and the validity of the
    /// job's token are not extended.
    pub deadline: Timestamp,
    /// Whether the script may be started again after it was started once.
    pub restart: Restart,
    /// The number of the attempt that is waiting or running; the first one is 1.
    pub attempt: u32,
    /// The job's phase.
    pub phase: Phase,
    /// Where the trace ended when its writer handed it over; unknown after a crash.
    pub trace: Option<TraceMark>,
    /// The number of the attempt before which the trace already tells the last loss.
    #[serde(default)]
    pub loss_told: u32,
    /// The job's history, oldest first.
    pub history: Vec<Entry>,
}

/// A job's names, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLabel {
    /// The project's path or name.
    pub project: String,
    /// The job's name in `.gitlab-ci.yml`.
    pub name: String,
    /// Its stage.
    pub stage: String,
}

/// Whether a job's script may be started a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// It may.
    Allowed,
    /// It must not: if the worker is lost after the start, the job fails.
    Never,
}

/// A job's phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Waiting for a worker.
    Waiting,
    /// Assigned to a worker.
    Assigned {
        /// The worker.
        worker: WorkerId,
    },
    /// The verdict is recorded; any manager may report it to GitLab (rule 13).
    Finishing {
        /// The verdict to report.
        verdict: Verdict,
        /// The worker whose attempt it was, if any.
        worker: Option<WorkerId>,
    },
    /// GitLab has the verdict; only cleaning up remains.
    Done {
        /// The reported verdict.
        verdict: Verdict,
        /// The worker whose attempt it was, if any.
        worker: Option<WorkerId>,
    },
}

/// The end of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceMark {
    /// How many bytes GitLab has.
    pub offset: u64,
    /// The CRC-32 of those bytes, if it is known.
    pub crc32: Option<u32>,
}

/// An entry of a job's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the writer's clock.
    pub at: Timestamp,
    /// The event.
    pub event: Event,
}

/// An event in a job's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A manager received it from GitLab.
    Received,
    /// It was assigned to a worker.
    Assigned {
        /// The worker.
        worker: WorkerId,
        /// The attempt's number.
        attempt: u32,
    },
    /// The attempt will never finish.
    Lost {
        /// The attempt's worker.
        worker: WorkerId,
        /// The attempt's number.
        attempt: u32,
        /// Why, for people.
        why: String,
        /// Whether the script had been started.
        started: bool,
    },
    /// The verdict was recorded.
    Judged {
        /// The job's final state.
        ending: Ending,
    },
    /// GitLab has the verdict.
    Told,
    /// The steps of an attempt, as recorded by its worker.
    Steps {
        /// The attempt's number.
        attempt: u32,
        /// The steps, by the worker's clock.
        steps: Vec<Step>,
    },
}

/// A transition that the record's phase does not allow: the plan was based on another record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {phase} cannot be {wanted}")]
pub struct WrongPhase {
    phase: &'static str,
    wanted: &'static str,
}

impl Record {
    /// The record of a job just received.
    pub fn received(
        label: JobLabel,
        restart: Restart,
        received_at: Timestamp,
        deadline: Timestamp,
    ) -> Self {
        Self {
            counter: 0,
            label,
            received_at,
            deadline,
            restart,
            attempt: 1,
            phase: Phase::Waiting,
            trace: None,
            loss_told: 0,
            history: vec![Entry {
                at: received_at,
                event: Event::Received,
            }],
        }
    }

    /// Assigns the waiting attempt to `worker`: the first of the two writes (rule 2).
    ///
    /// # Errors
    /// If the job is not waiting.
    pub fn assigned(
        &self,
        worker: &WorkerId,
        trace: Option<TraceMark>,
        now: Timestamp,
    ) -> Result<Self, WrongPhase> {
        let Phase::Waiting = self.phase else {
            return Err(self.wrong("assigned"));
        };
        let event = Event::Assigned {
            worker: worker.clone(),
            attempt: self.attempt,
        };
        let mut next = self.noted(event, now);
        next.trace = trace;
        next.phase = Phase::Assigned {
            worker: worker.clone(),
        };
        Ok(next)
    }

    /// Leaves an attempt that will never finish; the next one waits.
    ///
    /// # Errors
    /// If no attempt is assigned.
    pub fn next_attempt(
        &self,
        why: &str,
        started: bool,
        trace: Option<TraceMark>,
        now: Timestamp,
    ) -> Result<Self, WrongPhase> {
        let mut next = self.lost(why, started, now)?;
        next.attempt += 1;
        next.trace = trace;
        next.phase = Phase::Waiting;
        Ok(next)
    }

    /// Records that the attempt is lost, without deciding what follows.
    ///
    /// # Errors
    /// If no attempt is assigned.
    pub fn lost(&self, why: &str, started: bool, now: Timestamp) -> Result<Self, WrongPhase> {
        let Phase::Assigned { worker } = &self.phase else {
            return Err(self.wrong("lost"));
        };
        let event = Event::Lost {
            worker: worker.clone(),
            attempt: self.attempt,
            why: why.to_owned(),
            started,
        };
        Ok(self.noted(event, now))
    }

    /// Records the verdict before it is reported to GitLab (rule 13).
    ///
    /// # Errors
    /// If there is a verdict already.
    pub fn finishing(&self, verdict: Verdict, now: Timestamp) -> Result<Self, WrongPhase> {
        let worker = match &self.phase {
            Phase::Waiting => None,
            Phase::Assigned { worker } => Some(worker.clone()),
            Phase::Finishing { .. } | Phase::Done { .. } => return Err(self.wrong("judged")),
        };
        let mut next = self.noted(
            Event::Judged {
                ending: verdict.ending,
            },
            now,
        );
        next.phase = Phase::Finishing { verdict, worker };
        Ok(next)
    }

    /// Records that GitLab has the verdict, from a manager or from the worker itself.
    ///
    /// # Errors
    /// If no verdict is recorded.
    pub fn done(&self, now: Timestamp) -> Result<Self, WrongPhase> {
        let Phase::Finishing { verdict, worker } = &self.phase else {
            return Err(self.wrong("done"));
        };
        let mut next = self.noted(Event::Told, now);
        next.phase = Phase::Done {
            verdict: verdict.clone(),
            worker: worker.clone(),
        };
        Ok(next)
    }

    /// Adds an event to the history.
    pub fn noted(&self, event: Event, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.history.push(Entry { at: now, event });
        next
    }

    /// The worker of the job's attempt.
    pub fn worker(&self) -> Option<&WorkerId> {
        match &self.phase {
            Phase::Assigned { worker } => Some(worker),
            Phase::Waiting | Phase::Finishing { .. } | Phase::Done { .. } => None,
        }
    }

    /// Whether the record is still at `attempt` on `worker`: while it is, the order's entry must
    /// stay (rule 15).
    pub fn holds(&self, worker: &WorkerId, attempt: u32) -> bool {
        self.attempt == attempt && self.worker() == Some(worker)
    }

    /// Whether this job's entry may leave the order of `worker` (rules 15 and 16).
    pub fn releases(&self, worker: &WorkerId, order: &Order, id: u64) -> bool {
        match (&self.phase, order.entries.get(&id)) {
            // GitLab must have the verdict first; until then the worker keeps its result.
            (_, None) | (Phase::Finishing { .. }, Some(_)) => false,
            (_, Some(entry)) => !self.holds(worker, entry.attempt),
        }
    }

    /// The lost attempts, oldest first: worker, attempt, why.
    pub fn losses(&self) -> impl Iterator<Item = (&WorkerId, u32, &str)> {
        self.history.iter().filter_map(|entry| match &entry.event {
            Event::Lost {
                worker,
                attempt,
                why,
                ..
            } => Some((worker, *attempt, why.as_str())),
            _ => None,
        })
    }

    /// Why the previous attempt was lost, if the trace does not say so yet.
    pub fn untold_loss(&self) -> Option<&str> {
        let (_, lost, why) = self.losses().last()?;
        (lost + 1 == self.attempt && self.loss_told < self.attempt).then_some(why)
    }

    /// Records that the leader has written the loss to the trace, or never will: the worker of the
    /// next attempt writes all losses anyway.
    pub fn with_loss_told(&self) -> Self {
        Self {
            loss_told: self.attempt,
            ..self.clone()
        }
    }

    /// When the current attempt was assigned.
    pub fn assigned_at(&self) -> Option<Timestamp> {
        self.history
            .iter()
            .rev()
            .find_map(|entry| match &entry.event {
                Event::Assigned { attempt, .. } if *attempt == self.attempt => Some(entry.at),
                _ => None,
            })
    }

    fn wrong(&self, wanted: &'static str) -> WrongPhase {
        let phase = match self.phase {
            Phase::Waiting => "waiting",
            Phase::Assigned { .. } => "assigned",
            Phase::Finishing { .. } => "finishing",
            Phase::Done { .. } => "done",
        };
        WrongPhase { phase, wanted }
    }
}

/// The record of a finished job, kept for a day: for `onspot status` and for measurements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastJob {
    /// Which job.
    pub job: JobKey,
    /// The last record.
    pub record: Record,
}

impl Object for Record {
    fn counter(&self) -> u64 {
        self.counter
    }

    fn set_counter(&mut self, counter: u64) {
        self.counter = counter;
    }
}
