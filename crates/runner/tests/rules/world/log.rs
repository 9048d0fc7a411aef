//! A log of every script that ever ran.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

use onspot_runner::Clock;

/// How long a script runs by default.
const SCRIPT: Duration = Duration::from_mins(1);

/// One run of one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) job: u64,
    pub(crate) attempt: u32,
    pub(crate) host: String,
    pub(crate) from: Duration,
    pub(crate) to: Option<Duration>,
    /// When it was frozen.
    pub(crate) still: Vec<(Duration, Option<Duration>)>,
}

impl Execution {
    /// The spans of time in which it ran; one that still runs has no end.
    pub(crate) fn spans(&self) -> Vec<(Duration, Option<Duration>)> {
        let (mut spans, mut from) = (Vec::new(), Some(self.from));
        for (stood, on) in &self.still {
            spans.extend(from.map(|from| (from, Some(*stood))));
            from = *on;
        }
        spans.extend(from.map(|from| (from, self.to)));
        spans
    }

    /// Whether both ran at the same time.
    fn overlaps(&self, other: &Self) -> bool {
        let before = |end: Option<Duration>, begin: Duration| end.is_some_and(|end| end <= begin);
        let spans = self.spans();
        let others = other.spans();
        spans.iter().any(|span| {
            let mut others = others.iter();
            others.any(|other| !before(span.1, other.0) && !before(other.1, span.0))
        })
    }
}

/// Every script that ever ran.
pub(crate) struct Log {
    clock: Clock,
    executions: Mutex<Vec<Execution>>,
    scripts: Mutex<BTreeMap<u64, Duration>>,
}

impl Log {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            executions: Mutex::default(),
            scripts: Mutex::default(),
        }
    }

    /// Sets how long a job's script runs.
    pub(crate) fn set_script(&self, job: u64, takes: Duration) {
        self.scripts.lock().insert(job, takes);
    }

    /// How long a job's script runs.
    pub(crate) fn takes(&self, job: u64) -> Duration {
        let scripts = self.scripts.lock();
        scripts.get(&job).copied().unwrap_or(SCRIPT)
    }

    pub(crate) fn executions(&self, job: u64) -> Vec<Execution> {
        let executions = self.executions.lock();
        executions
            .iter()
            .filter(|execution| execution.job == job)
            .cloned()
            .collect()
    }

    /// Where a job's script has run, in this order.
    pub(crate) fn runs_on(&self, job: u64) -> Vec<String> {
        self.executions(job)
            .into_iter()
            .map(|execution| execution.host)
            .collect()
    }

    /// Whether a job's script ever ran twice at once (S1).
    pub(crate) fn overlaps(&self, job: u64) -> bool {
        let executions = self.executions(job);
        let mut pairs = executions.iter().enumerate();
        pairs.any(|(number, one)| executions[..number].iter().any(|other| one.overlaps(other)))
    }

    pub(super) fn began(&self, job: u64, attempt: u32, host: &str) -> usize {
        let mut executions = self.executions.lock();
        executions.push(Execution {
            job,
            attempt,
            host: host.to_owned(),
            from: self.clock.steady(),
            to: None,
            still: Vec::new(),
        });
        executions.len() - 1
    }

    pub(super) fn ended(&self, number: usize) {
        let now = self.clock.steady();
        self.executions.lock()[number].to.get_or_insert(now);
    }

    pub(super) fn stands_still(&self, number: usize) {
        let now = self.clock.steady();
        let execution = &mut self.executions.lock()[number];
        if execution.still.last().is_none_or(|(_, on)| on.is_some()) {
            execution.still.push((now, None));
        }
    }

    pub(super) fn goes_on(&self, number: usize) {
        let now = self.clock.steady();
        let execution = &mut self.executions.lock()[number];
        if let Some((_, on)) = execution.still.last_mut() {
            on.get_or_insert(now);
        }
    }
}
