//! `run/state/<worker>`: what a worker says of itself. Writing it renews the worker's lease.

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
    /// Which start of the agent wrote it: how a worker knows that no other agent did.
    pub boot: BootId,
    /// The version of the agent's program.
    pub version: String,
    /// When it was written, by the worker's clock: for people, nothing is decided by it.
    pub written_at: Timestamp,
    /// What the instance reached when on its way to its first job, by the worker's clock.
    #[serde(default)]
    pub milestones: Vec<Step>,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// How many attempts it accepted in its life.
    #[serde(default)]
    pub uses: u32,
    /// Whether it takes new jobs.
    #[serde(default)]
    pub intake: Intake,
    /// The notice that the instance will be taken away, if there is one.
    #[serde(default)]
    pub interruption: Option<Interruption>,
    /// Its attempts, by GitLab's number of the job. An entry stays until the order's entry is
    /// absent (rule 15).
    #[serde(default)]
    pub jobs: BTreeMap<u64, Attempt>,
}

/// Whether a worker takes new jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intake {
    /// It does.
    #[default]
    Open,
    /// It finishes what it has.
    Draining,
    /// It has finished everything: the instance can go.
    Drained,
}

/// EC2's notice that an instance will be taken away.
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
    /// How far it came.
    pub phase: AttemptPhase,
    /// What was reached when, by the worker's clock.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// How far an attempt came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum AttemptPhase {
    /// The worker has a slot for it.
    Accepted,
    /// Images, containers, sources, cache.
    Preparing,
    /// The script may have begun (rule 6).
    Started,
    /// The script is over and this is the result; GitLab may not know it yet (rule 7).
    Result {
        /// The result.
        verdict: Verdict,
    },
    /// GitLab knows the result.
    Reported {
        /// The result.
        verdict: Verdict,
    },
    /// The worker stopped the attempt and told nobody.
    GivenUp {
        /// Whether the script may have begun.
        started: bool,
        /// Why, for people.
        why: String,
    },
}

/// Something that was reached, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What: `prepared`, `cloned`, `cache`, `script` and so on.
    pub name: String,
    /// When, by the clock of who wrote it.
    pub at: Timestamp,
}

impl Step {
    /// A step reached now.
    pub fn new(name: impl Into<String>, at: Timestamp) -> Self {
        Self {
            name: name.into(),
            at,
        }
    }
}

impl AttemptPhase {
    /// Whether nothing more will happen to the attempt on this worker.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Reported { .. } | Self::GivenUp { .. })
    }

    /// Whether the script may have begun.
    pub fn has_started(&self) -> bool {
        match self {
            Self::Accepted | Self::Preparing => false,
            Self::Started | Self::Result { .. } | Self::Reported { .. } => true,
            Self::GivenUp { started, .. } => *started,
        }
    }
}

impl State {
    /// The state of an agent that starts on an instance for the first time.
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

    /// The state of an agent that starts again, from its own stored one (rule 9): what had not
    /// ended is given up, a result stays and is resumed, and nothing listed is ever run again.
    ///
    /// Its predecessor's containers must be dead by now.
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

    /// Takes an attempt, unless this very attempt or a later one was ever taken (rule 6).
    /// Whether it was taken.
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

    /// Sets the phase of an attempt; nothing if the job is at another attempt, or the attempt is
    /// over.
    pub fn advance(&mut self, job: u64, attempt: u32, phase: AttemptPhase) {
        if let Some(entry) = self.jobs.get_mut(&job)
            && entry.attempt == attempt
            && !entry.phase.is_over()
        {
            entry.phase = phase;
        }
    }

    /// Notes a step of an attempt.
    pub fn step(&mut self, job: u64, attempt: u32, step: Step) {
        if let Some(entry) = self.jobs.get_mut(&job)
            && entry.attempt == attempt
        {
            entry.steps.push(step);
        }
    }

    /// Forgets the jobs that the order does not name any more, but for those in `held`, whose
    /// containers are still being stopped (rule 15).
    pub fn forget_released(&mut self, order: &Order, held: impl Fn(u64) -> bool) {
        self.jobs
            .retain(|job, _| order.entries.contains_key(job) || held(*job));
    }

    /// The slots that no attempt occupies.
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
