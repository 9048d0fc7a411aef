//! `run/state/<worker>`: a worker's report on itself. Writing it renews the worker's lease.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::BootId;
use crate::object::Object;
use crate::order::Order;
use crate::verdict::Verdict;

/// A worker's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Grows with every write.
    pub counter: u64,
    /// The agent's start that wrote it: by this a worker notices if another agent wrote.
    pub boot: BootId,
    /// The version of the agent's program.
    pub version: String,
    /// When it was written, by the worker's clock: only for people, nothing depends on it.
    pub written_at: Timestamp,
    /// Milestones of the instance up to its first job, by the worker's clock.
    #[serde(default)]
    pub milestones: Vec<Step>,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// How many attempts it has accepted so far.
    #[serde(default)]
    pub uses: u32,
    /// Whether it takes new jobs.
    #[serde(default)]
    pub intake: Intake,
    /// The notice of an interruption, if there is one.
    #[serde(default)]
    pub interruption: Option<Interruption>,
    /// Its attempts, by GitLab's number of the job. An entry stays until the order no longer has
    /// one (rule 15).
    #[serde(default)]
    pub jobs: BTreeMap<u64, Attempt>,
}

/// Whether a worker takes new jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intake {
    /// It takes new jobs.
    #[default]
    Open,
    /// It only finishes its present jobs.
    Draining,
    /// It has no jobs left: the instance can be terminated.
    Drained,
}

/// EC2's notice that an instance will be interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    /// `terminate`, `stop` or `hibernate`.
    pub action: String,
    /// When.
    pub at: Timestamp,
}

/// One attempt of a job on a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number.
    pub attempt: u32,
    /// Its phase.
    pub phase: AttemptPhase,
    /// Its steps, by the worker's clock.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// The phase of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum AttemptPhase {
    /// The worker has reserved a slot for it.
    Accepted,
    /// Pulling images, making containers, fetching sources and cache.
    Preparing,
    /// The script may have started (rule 6).
    Started,
    /// The script is over, with this result; GitLab may not have it yet (rule 7).
    Result {
        /// The result.
        verdict: Verdict,
    },
    /// GitLab has the result.
    Reported {
        /// The result.
        verdict: Verdict,
    },
    /// The worker stopped the attempt and did not report it to GitLab.
    GivenUp {
        /// Whether the script may have started.
        started: bool,
        /// Why, for people.
        why: String,
    },
}

/// A step and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The step: `prepared`, `cloned`, `cache`, `script` and so on.
    pub name: String,
    /// When, by the writer's clock.
    pub at: Timestamp,
}

impl Step {
    /// A step at this time.
    pub fn new(name: impl Into<String>, at: Timestamp) -> Self {
        Self {
            name: name.into(),
            at,
        }
    }
}

impl AttemptPhase {
    /// Whether the attempt is finished on this worker.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Reported { .. } | Self::GivenUp { .. })
    }

    /// Whether the script may have started.
    pub fn has_started(&self) -> bool {
        match self {
            Self::Accepted | Self::Preparing => false,
            Self::Started | Self::Result { .. } | Self::Reported { .. } => true,
            Self::GivenUp { started, .. } => *started,
        }
    }
}

impl State {
    /// The state of an agent's first start on an instance.
    pub fn first(boot: &BootId, version: &str, slots: u32, now: Timestamp) -> Self {
        Self {
            counter: 0,
            boot: boot.clone(),
            version: version.to_owned(),
            written_at: now,
            milestones: Vec::new(),
            slots,
            uses: 0,
            intake: Intake::Open,
            interruption: None,
            jobs: BTreeMap::new(),
        }
    }

    /// The state of an agent that starts again, from its own stored one (rule 9): unfinished
    /// attempts are given up, a result is kept and resumed, and no listed attempt is ever run
    /// again.
    ///
    /// The containers of the previous start must be dead by now.
    pub fn restarted(&self, boot: &BootId, version: &str, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.boot = boot.clone();
        version.clone_into(&mut next.version);
        next.written_at = now;
        next.interruption = None;
        for attempt in next.jobs.values_mut() {
            let started = attempt.phase.has_started();
            match attempt.phase {
                AttemptPhase::Accepted | AttemptPhase::Preparing | AttemptPhase::Started => {
                    attempt.phase = AttemptPhase::GivenUp {
                        started,
                        why: "its agent was restarted".to_owned(),
                    };
                }
                AttemptPhase::Result { .. }
                | AttemptPhase::Reported { .. }
                | AttemptPhase::GivenUp { .. } => {}
            }
        }
        next
    }

    /// Accepts an attempt, unless this or a later attempt of the job was accepted before (rule 6).
    /// Returns whether it was accepted.
    pub fn accept(&mut self, job: u64, attempt: u32, now: Timestamp) -> bool {
        if self
            .jobs
            .get(&job)
            .is_some_and(|known| known.attempt >= attempt)
        {
            return false;
        }
        let entry = Attempt {
            attempt,
            phase: AttemptPhase::Accepted,
            steps: vec![Step::new("accepted", now)],
        };
        self.jobs.insert(job, entry);
        self.uses += 1;
        true
    }

    /// Sets the phase of an attempt; does nothing if the job is at another attempt, or the attempt
    /// is over.
    pub fn advance(&mut self, job: u64, attempt: u32, phase: AttemptPhase) {
        if let Some(entry) = self.jobs.get_mut(&job)
            && entry.attempt == attempt
            && !entry.phase.is_over()
        {
            entry.phase = phase;
        }
    }

    /// Records a step of an attempt.
    pub fn step(&mut self, job: u64, attempt: u32, step: Step) {
        if let Some(entry) = self.jobs.get_mut(&job)
            && entry.attempt == attempt
        {
            entry.steps.push(step);
        }
    }

    /// Forgets the jobs that the order no longer names, except those in `held`, whose containers
    /// are still being stopped (rule 15).
    pub fn forget_released(&mut self, order: &Order, held: impl Fn(u64) -> bool) {
        self.jobs
            .retain(|job, _| order.entries.contains_key(job) || held(*job));
    }

    /// The slots that are free.
    pub fn free_slots(&self) -> u32 {
        let busy = self
            .jobs
            .values()
            .filter(|attempt| !attempt.phase.is_over())
            .count();
        self.slots
            .saturating_sub(u32::try_from(busy).unwrap_or(u32::MAX))
    }
}

impl Object for State {
    fn counter(&self) -> u64 {
        self.counter
    }

    fn set_counter(&mut self, counter: u64) {
        self.counter = counter;
    }
}
