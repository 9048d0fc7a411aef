//! Follows a pipeline: its jobs, and their traces as they grow.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use clap::ValueEnum;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::{Api, POLL};
use super::error::PushError;

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Traces as they grow.
    Text,
    /// One JSON object per finished job, one per line.
    Json,
}

/// A job as `GET …/jobs` shows it.
#[derive(Debug, Clone, Deserialize)]
struct Job {
    id: u64,
    name: String,
    stage: String,
    status: String,
    failure_reason: Option<String>,
    exit_code: Option<i64>,
    duration: Option<f64>,
    worker: Option<String>,
    #[serde(default)]
    stuck: bool,
    #[serde(default)]
    tag_list: Vec<String>,
}

impl Job {
    fn is_over(&self) -> bool {
        matches!(
            self.status.as_str(),
            "success" | "failed" | "canceled" | "skipped" | "manual"
        )
    }
}

/// One line of `--output json`.
#[derive(Debug, Serialize)]
struct JobLine<'a> {
    name: &'a str,
    stage: &'a str,
    status: &'a str,
    failure_reason: Option<&'a str>,
    exit_code: Option<i64>,
    duration_s: Option<f64>,
    worker: Option<&'a str>,
    trace: &'a str,
}

/// Follows a pipeline until it is over.
pub(super) struct Follower {
    api: Api,
    project: String,
    pipeline: u64,
    format: OutputFormat,
    /// How many bytes of each job's trace were printed.
    jobs: BTreeMap<u64, usize>,
    /// The job whose trace was printed last.
    shown: Option<u64>,
    /// The jobs already reported as stuck.
    stuck: BTreeSet<u64>,
}

impl Follower {
    pub(super) fn new(api: Api, project: String, pipeline: u64, format: OutputFormat) -> Self {
        Self {
            api,
            project,
            pipeline,
            format,
            jobs: BTreeMap::new(),
            shown: None,
            stuck: BTreeSet::new(),
        }
    }

    /// Show the jobs until the pipeline is over; returns whether it succeeded.
    pub(super) async fn run(mut self) -> Result<bool, PushError> {
        let pipeline_path = format!("projects/{}/pipelines/{}", self.project, self.pipeline);
        let jobs_path = format!("{pipeline_path}/jobs?include_retried=true");
        let mut done = BTreeSet::new();
        loop {
            // The pipeline is read first: once it is over, so are all jobs that are read
            // afterwards.
            let pipeline = self.api.json(&pipeline_path).await?;
            let mut jobs: Vec<Job> = serde_json::from_value(self.api.json(&jobs_path).await?)
                .map_err(|_| PushError::Answer {
                    what: jobs_path.clone(),
                })?;
            jobs.sort_by_key(|job| job.id);
            for job in jobs
                .iter()
                .filter(|job| !done.contains(&job.id))
                .cloned()
                .collect::<Vec<_>>()
            {
                self.show(&job).await?;
                if job.is_over() {
                    done.insert(job.id);
                }
            }
            let status = pipeline
                .get("status")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if matches!(
                status,
                "success" | "failed" | "canceled" | "skipped" | "manual"
            ) {
                let error = pipeline.get("yaml_errors").and_then(Value::as_str);
                self.conclude(status, error);
                return Ok(status == "success");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn show(&mut self, job: &Job) -> Result<(), PushError> {
        if job.stuck && self.stuck.insert(job.id) {
            let tags = job.tag_list.join(", ");
            // On stderr, next to the JSON lines; a closed pipe ends the program by itself.
            let _ = writeln!(
                anstream::stderr(),
                "job {} is stuck: no runner takes jobs tagged {tags} (Ctrl-C stops waiting)",
                job.name
            );
        }
        let started = !matches!(
            job.status.as_str(),
            "created" | "pending" | "skipped" | "manual"
        );
        if self.format == OutputFormat::Json && !job.is_over() {
            return Ok(());
        }
        let trace = if started {
            self.api
                .get(&format!("projects/{}/jobs/{}/trace", self.project, job.id))
                .await?
        } else {
            Vec::new()
        };
        match self.format {
            OutputFormat::Json => print_line(job, &String::from_utf8_lossy(&trace)),
            OutputFormat::Text => self.print_trace(job, &trace),
        }
        Ok(())
    }

    /// Print the new part of a trace; only whole lines until the job is over.
    fn print_trace(&mut self, job: &Job, trace: &[u8]) {
        let printed = self.jobs.entry(job.id).or_default();
        let fresh = trace.get(*printed..).unwrap_or_default();
        let end = if job.is_over() {
            fresh.len()
        } else {
            fresh
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1)
        };
        let fresh = &fresh[..end];
        *printed += end;
        let mut out = anstream::stdout().lock();
        let bold = anstyle::Style::new().bold();
        if !fresh.is_empty() {
            if self.shown != Some(job.id) {
                // A closed pipe soon ends the program by itself; the same below.
                let _ = writeln!(
                    out,
                    "{bold}── {} · stage {} ──{bold:#}",
                    job.name, job.stage
                );
                self.shown = Some(job.id);
            }
            let text = String::from_utf8_lossy(fresh);
            let text = onspot_mock_gitlab::without_headers(&text);
            let _ = out.write_all(&without_sections(text.as_bytes()));
            if fresh.last() != Some(&b'\n') {
                let _ = writeln!(out);
            }
        }
        if job.is_over() {
            let worker = job.worker.as_ref().map(|worker| format!(" on {worker}"));
            let took = job.duration.map(|seconds| format!(" after {seconds:.1} s"));
            let reason = job
                .failure_reason
                .as_ref()
                .map(|reason| format!(" ({reason})"));
            let parts = [reason, took, worker]
                .map(Option::unwrap_or_default)
                .concat();
            let _ = writeln!(
                out,
                "{bold}── {} · {}{parts} ──{bold:#}",
                job.name, job.status
            );
            self.shown = None;
        }
        let _ = out.flush();
    }

    fn conclude(&self, status: &str, error: Option<&str>) {
        let text = match error {
            Some(error) => format!("pipeline {} {status}: {error}", self.pipeline),
            None => format!("pipeline {} {status}", self.pipeline),
        };
        // On stderr for people, next to the JSON lines.
        let _ = match self.format {
            OutputFormat::Text => writeln!(anstream::stdout(), "{text}"),
            OutputFormat::Json => writeln!(anstream::stderr(), "{text}"),
        };
    }
}

fn print_line(job: &Job, trace: &str) {
    let line = JobLine {
        name: &job.name,
        stage: &job.stage,
        status: &job.status,
        failure_reason: job.failure_reason.as_deref(),
        exit_code: job.exit_code,
        duration_s: job.duration,
        worker: job.worker.as_deref(),
        trace,
    };
    if let Ok(text) = serde_json::to_string(&line) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// A trace without section markers, which only GitLab's page uses.
fn without_sections(trace: &[u8]) -> Vec<u8> {
    Regex::new(r"section_(?:start|end):\d+:[^\r\n]*\r(?:\x1b\[0?K)?").map_or_else(
        |_| trace.to_vec(),
        |marker| marker.replace_all(trace, &b""[..]).into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_markers_are_not_shown() {
        let trace = b"section_start:1700000000:step_script[collapsed=true]\r\x1b[0Kscript\nhello\n\
                      section_end:1700000001:step_script\r\x1b[0Kdone\n";
        assert_eq!(without_sections(trace), b"script\nhello\ndone\n");
    }
}
