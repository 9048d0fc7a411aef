//! The timeline of one job, from all records about it.

use std::time::Duration;

use jiff::Timestamp;
use onspot_mock_gitlab::{JobCall, JobCallKind, JobView};
use serde_json::Value;

use crate::cloud::Call;
use crate::{Error, Result};

/// The timeline of one job: its steps up to the script, and its overhead beyond it.
#[derive(Debug, Clone)]
pub(super) struct Course {
    /// Each step and how long it took, in order.
    pub(super) steps: Vec<(&'static str, Duration)>,
    /// The time from `git push` to the start of the script.
    pub(super) to_script: Duration,
    /// The time from GitLab's assignment of the job to its end, without the script.
    pub(super) overhead: Duration,
}

/// The steps recorded by the worker, and their names in the figures.
const WORKER_STEPS: [(&str, &str); 5] = [
    ("accepted", "order"),
    ("prepare_executor", "prepare"),
    ("get_sources", "clone"),
    ("restore_cache", "cache"),
    ("script", "start"),
];

impl Course {
    /// The timeline of `job`, pushed at `begin`.
    pub(super) fn of(
        begin: Timestamp,
        job: &JobView,
        job_calls: &[JobCall],
        aws_calls: &[Call],
        status: &Value,
    ) -> Result<Self> {
        let missing = |what: &str| Error::Other(format!("nobody noted {what} of job {}", job.id));
        let history = past(status, &job.id.to_string()).ok_or_else(|| missing("the end"))?;
        let mut line = Line::begin(begin);
        line.step(
            "push",
            job.queued_at.ok_or_else(|| missing("the queueing"))?,
        );
        let given = job_calls
            .iter()
            .find(|call| matches!(call.kind, JobCallKind::Assigned { .. }));
        let given = given.ok_or_else(|| missing("the handing out"))?.at;
        line.step("poll", given);
        if let Some(launch) = aws_calls.iter().find(|call| call.action == "CreateFleet") {
            line.step("launch", after(launch.at, launch.took));
            let agent = milestone(status, "agent").ok_or_else(|| missing("the worker's start"))?;
            line.step("boot", agent);
        }
        let assigned = event(history, "assigned").ok_or_else(|| missing("the assignment"))?;
        line.step("assign", assigned);
        for (noted, name) in WORKER_STEPS {
            if let Some(at) = step(history, noted) {
                line.step(name, at);
            }
        }
        let script = step(history, "script").ok_or_else(|| missing("the script's beginning"))?;
        let done = step(history, "script_done").ok_or_else(|| missing("the script's end"))?;
        let end = job.finished_at.ok_or_else(|| missing("the end"))?;
        Ok(Self {
            steps: line.steps,
            to_script: between(begin, script),
            overhead: between(given, end).saturating_sub(between(script, done)),
        })
    }
}

/// Steps, each from the end of the previous one.
struct Line {
    steps: Vec<(&'static str, Duration)>,
    last: Timestamp,
}

impl Line {
    fn begin(at: Timestamp) -> Self {
        Self {
            steps: Vec::new(),
            last: at,
        }
    }

    fn step(&mut self, name: &'static str, end: Timestamp) {
        self.steps.push((name, between(self.last, end)));
        self.last = self.last.max(end);
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(from.duration_until(to)).unwrap_or_default()
}

fn after(at: Timestamp, took: Duration) -> Timestamp {
    at.checked_add(took).unwrap_or(at)
}

/// The history of a finished job in the output of `onspot status`.
pub(super) fn past<'v>(status: &'v Value, id: &str) -> Option<&'v [Value]> {
    let jobs = status["ledger"]["past"].as_object()?;
    let (_, record) = jobs
        .iter()
        .find(|(key, _)| key.rsplit('/').next() == Some(id))?;
    record["history"].as_array().map(Vec::as_slice)
}

fn event(history: &[Value], name: &str) -> Option<Timestamp> {
    let entry = history
        .iter()
        .find(|entry| entry["event"]["event"] == name)?;
    time(&entry["at"])
}

fn step(history: &[Value], name: &str) -> Option<Timestamp> {
    let mut noted = history
        .iter()
        .filter_map(|entry| entry["event"]["steps"].as_array());
    let step = noted.find_map(|steps| steps.iter().find(|step| step["name"] == name))?;
    time(&step["at"])
}

fn milestone(status: &Value, name: &str) -> Option<Timestamp> {
    let workers = status["workers"].as_array()?;
    let mut noted = workers
        .iter()
        .filter_map(|worker| worker["reported"]["milestones"].as_array());
    let step = noted.find_map(|steps| steps.iter().find(|step| step["name"] == name))?;
    time(&step["at"])
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
