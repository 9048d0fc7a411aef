//! Compares the results of a pipeline with the expected ones.

use std::time::Duration;

use onspot_e2e::duration;
use onspot_mock_gitlab::Status;
use regex::Regex;

use crate::fixture::{Expected, ExpectedJob};

/// The results of a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) status: Status,
    pub(crate) yaml_error: Option<String>,
    pub(crate) jobs: Vec<EndedJob>,
    /// Why waiting for it was given up.
    pub(crate) unfinished: Option<String>,
}

/// The results of a job.
#[derive(Debug, Clone)]
pub(crate) struct EndedJob {
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) exit_code: Option<i64>,
    pub(crate) failure_reason: Option<String>,
    /// Its trace as plain text.
    pub(crate) trace: String,
    /// Its trace as it was sent.
    pub(crate) raw_trace: String,
    pub(crate) took: Duration,
}

impl Ended {
    /// How many jobs it had, and how long they ran.
    pub(crate) fn summary(&self) -> String {
        let took = self.jobs.iter().map(|job| job.took).sum();
        let jobs = self.jobs.len();
        let word = if jobs == 1 { "job" } else { "jobs" };
        format!("{}, {jobs} {word}, {}", self.status, duration::rough(took))
    }
}

/// All differences; empty if the results are the expected ones.
pub(crate) fn differences(expected: &Expected, seen: &Ended) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(seen.unfinished.clone());
    differs(&mut all, "the pipeline", expected.pipeline, seen.status);
    match (&expected.yaml_error, &seen.yaml_error) {
        (None, None) => {}
        (Some(part), Some(error)) if error.contains(part) => {}
        (part, error) => all.push(format!("its yaml_error is {error:?}, expected {part:?}")),
    }
    for (name, expected) in &expected.jobs {
        match seen.jobs.iter().find(|job| job.name == *name) {
            Some(job) => of_job(&mut all, expected, job),
            None => all.push(format!("there is no job {name:?}")),
        }
    }
    let unexpected = seen
        .jobs
        .iter()
        .filter(|job| !expected.jobs.contains_key(&job.name));
    all.extend(unexpected.map(|job| format!("there is a job {:?}", job.name)));
    all
}

fn of_job(all: &mut Vec<String>, expected: &ExpectedJob, seen: &EndedJob) {
    let name = &seen.name;
    differs(all, name, expected.status, seen.status);
    if let Some(code) = expected.exit_code
        && seen.exit_code != Some(code)
    {
        let there = seen.exit_code;
        all.push(format!(
            "{name}: its exit code is {there:?}, expected {code}"
        ));
    }
    if expected.failure_reason.is_some() && expected.failure_reason != seen.failure_reason {
        let (there, wanted) = (&seen.failure_reason, &expected.failure_reason);
        all.push(format!(
            "{name}: its failure reason is {there:?}, expected {wanted:?}"
        ));
    }
    let lacking = expected.trace_contains.iter();
    let lacking = lacking.filter(|text| !seen.trace.contains(text.as_str()));
    all.extend(lacking.map(|text| format!("{name}: its trace lacks {text:?}")));
    let there = expected.trace_lacks.iter();
    let there = there.filter(|text| seen.trace.contains(text.as_str()));
    all.extend(there.map(|text| format!("{name}: its trace holds {text:?}")));
    let matches = |pattern: &&String| {
        let pattern = Regex::new(pattern).expect("a pattern");
        pattern.is_match(&seen.raw_trace)
    };
    let lacking = expected.raw_trace_matches.iter();
    let lacking = lacking.filter(|pattern| !matches(pattern));
    all.extend(lacking.map(|pattern| format!("{name}: its raw trace lacks {pattern:?}")));
    let there = expected.raw_trace_lacks.iter().filter(matches);
    all.extend(there.map(|pattern| format!("{name}: its raw trace holds {pattern:?}")));
}

fn differs(all: &mut Vec<String>, what: &str, expected: Status, seen: Status) {
    if expected != seen {
        all.push(format!("{what}: {seen}, expected {expected}"));
    }
}

#[test]
fn every_difference_is_found() {
    let expected: Expected = serde_json::from_str(
        r#"{"pipeline": "success", "jobs": {
            "gone": {"status": "success"},
            "same": {"status": "success", "trace_contains": ["yes"]},
            "other": {"status": "failed", "exit_code": 3, "failure_reason": "script_failure",
                      "trace_contains": ["no"], "trace_lacks": ["yes"]}}}"#,
    )
    .expect("an expectation");
    let job = |name: &str| EndedJob {
        name: name.to_owned(),
        status: Status::Success,
        exit_code: Some(0),
        failure_reason: None,
        trace: "yes\n".to_owned(),
        raw_trace: "yes\n".to_owned(),
        took: Duration::ZERO,
    };
    let mut seen = Ended {
        status: Status::Failed,
        yaml_error: Some("jobs:a is wrong".to_owned()),
        jobs: vec![job("same"), job("other"), job("more")],
        unfinished: None,
    };
    assert_eq!(
        differences(&expected, &seen).join("\n"),
        "the pipeline: failed, expected success\n\
         its yaml_error is Some(\"jobs:a is wrong\"), expected None\n\
         there is no job \"gone\"\n\
         other: success, expected failed\n\
         other: its exit code is Some(0), expected 3\n\
         other: its failure reason is None, expected Some(\"script_failure\")\n\
         other: its trace lacks \"no\"\n\
         other: its trace holds \"yes\"\n\
         there is a job \"more\""
    );
    seen.unfinished = Some("it is still running".to_owned());
    assert_eq!(differences(&expected, &seen)[0], "it is still running");
}
