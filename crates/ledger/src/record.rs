//! `run/job/<runner>/<id>`: what the leader knows of a job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{JobKey, WorkerId};
use crate::object::Object;
use crate::order::Order;
use crate::state::Step;
use crate::verdict::{Ending, Verdict};

/// A job's record. It stands before GitLab is told anything about the job, and is removed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Grows with every write.
    pub counter: u64,
    /// What people call the job.
    pub label: JobLabel,
    /// When GitLab's 201 was received.
    pub received_at: Timestamp,
    /// When the wait and all attempts must be over: GitLab's own clock and the job's token run on.
    pub deadline: Timestamp,
    /// Whether the script may be started again after it was started once.
    pub restart: Restart,
    /// The attempt that is waited for, or that runs; the first one is 1.
    pub attempt: u32,
    /// Where the job is.
    pub phase: Phase,
    /// Where the trace ended when its writer handed it over; unknown after a crash.
    pub trace: Option<TraceMark>,
    /// The attempt before which the trace says already what became of the last one.
    #[serde(default)]
    pub loss_told: u32,
    /// What happened so far, oldest first.
    pub history: Vec<Entry>,
}

/// What people call a job.
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
    /// It must not: once started, losing the worker fails the job.
    Never,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// For a worker to be found.
    Waiting,
    /// With a worker.
    Assigned {
        /// Which one.
        worker: WorkerId,
    },
    /// The verdict stands; any manager may tell GitLab (rule 13).
    Finishing {
        /// What GitLab is told.
        verdict: Verdict,
        /// The worker whose attempt it was, if any.
        worker: Option<WorkerId>,
    },
    /// GitLab knows; what is left is to clear up.
    Done {
        /// What GitLab was told.
        verdict: Verdict,
        /// The worker whose attempt it was, if any.
        worker: Option<WorkerId>,
    },
}

/// Where a trace ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceMark {
    /// How many bytes GitLab has.
    pub offset: u64,
    /// The CRC-32 of those bytes, if all of them are known.
    pub crc32: Option<u32>,
}

/// One thing that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the clock of who wrote it.
    pub at: Timestamp,
    /// What.
    pub event: Event,
}

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// GitLab gave it to a manager.
    Received,
    /// It was given to a worker.
    Assigned {
        /// Which one.
        worker: WorkerId,
        /// The attempt's number.
        attempt: u32,
    },
    /// The attempt will not come to an end.
    Lost {
        /// Whose attempt it was.
        worker: WorkerId,
        /// The attempt's number.
        attempt: u32,
        /// Why, for people.
        why: String,
        /// Whether the script had been started.
        started: bool,
    },
    /// The verdict was written down.
    Judged {
        /// The job's final state.
        ending: Ending,
    },
    /// GitLab knows the verdict.
    Told,
    /// The steps of an attempt, as its worker noted them.
    Steps {
        /// The attempt's number.
        attempt: u32,
        /// What was reached when, by the worker's clock.
        steps: Vec<Step>,
    },
}

/// A change that the record's phase does not allow: the plan was made from something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {phase} cannot be {wanted}")]
pub struct WrongPhase {
    phase: &'static str,
    wanted: &'static str,
}

impl Record {
    /// The record of a job that was just received.
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

    /// Gives the waiting attempt to `worker`: the first of assigning's two writes (rule 2).
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

    /// Leaves an attempt that will not come to an end; the next one waits.
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

    /// Notes that the attempt is lost, without saying yet what comes of it.
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

    /// Writes down what GitLab will be told, before it is told (rule 13).
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

    /// GitLab knows the verdict: from a manager that told it, or from the worker itself.
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

    /// Adds to the history.
    pub fn noted(&self, event: Event, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.history.push(Entry { at: now, event });
        next
    }

    /// The worker that has the job.
    pub fn worker(&self) -> Option<&WorkerId> {
        match &self.phase {
            Phase::Assigned { worker } => Some(worker),
            Phase::Waiting | Phase::Finishing { .. } | Phase::Done { .. } => None,
        }
    }

    /// Whether the record is still in the attempt `attempt` on `worker`: while it is, the order's
    /// entry must stay (rule 15).
    pub fn holds(&self, worker: &WorkerId, attempt: u32) -> bool {
        self.attempt == attempt && self.worker() == Some(worker)
    }

    /// Whether the order of `worker` may forget this job (rules 15 and 16).
    pub fn releases(&self, worker: &WorkerId, order: &Order, id: u64) -> bool {
        match (&self.phase, order.entries.get(&id)) {
            // GitLab is to be told first: until then the worker keeps its result.
            (_, None) | (Phase::Finishing { .. }, Some(_)) => false,
            (_, Some(entry)) => !self.holds(worker, entry.attempt),
        }
    }

    /// The attempts that were lost, oldest first: worker, attempt, why.
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

    /// What became of the attempt before this one, if a trace is still to say so.
    pub fn untold_loss(&self) -> Option<&str> {
        let (_, lost, why) = self.losses().last()?;
        (lost + 1 == self.attempt && self.loss_told < self.attempt).then_some(why)
    }

    /// Notes that the trace says it from now on, or never: at most once, as the worker of the
    /// next attempt tells all losses anyway.
    pub fn with_loss_told(&self) -> Self {
        Self {
            loss_told: self.attempt,
            ..self.clone()
        }
    }

    /// When the current attempt was given to its worker.
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

/// What is kept of a job that is over, for a day: for `onspot status` and for measuring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastJob {
    /// Which job.
    pub job: JobKey,
    /// The record as it was at the end.
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
