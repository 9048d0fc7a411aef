//! `onspot status`: the stack, its managers, its workers and their jobs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use onspot_ledger::{Ending, Intake, Overview, Phase, Record, State};
use onspot_stack::{Clients, InstanceStatus, Spec, Status};

use crate::cli::{Global, Stack};
use crate::failure::Failure;
use crate::output::Output;
use crate::table::table;

/// How many finished jobs are shown.
const PAST: usize = 5;

/// Prints the status. A missing stack is an error.
pub(crate) async fn status(args: &Stack, global: Global) -> Result<(), Failure> {
    let spec = Spec::load(&args.config)?;
    let clients = Clients::connect(&spec).await?;
    let status = Box::pin(onspot_stack::status(&spec.name, &clients)).await?;
    if status.resources.is_empty() {
        let (stack, region) = (&status.stack, &status.region);
        return Err(
            Failure::new(format!("there is no stack {stack} in {region}"))
                .hint("make it: onspot up"),
        );
    }
    Output::new(global.output).result(&status, || text(&status, Timestamp::now()))
}

/// The status for people.
fn text(status: &Status, now: Timestamp) -> String {
    let mut text = format!(
        "stack {} in {}, {} resources\n",
        status.stack,
        status.region,
        status.resources.len()
    );
    if let Some(ledger) = &status.ledger {
        text.push_str(&leader(ledger, now));
    }
    let managers: Vec<_> = status
        .managers
        .iter()
        .map(|manager| instance(manager, now))
        .collect();
    let workers: Vec<_> = status
        .workers
        .iter()
        .map(|worker| instance(worker, now))
        .collect();
    let heads = [
        "instance", "runner", "type", "zone", "paid", "state", "age", "jobs",
    ];
    section(&mut text, "managers", heads, &managers);
    section(&mut text, "workers", heads, &workers);
    if let Some(ledger) = &status.ledger {
        let heads = ["job", "name", "project", "state", "try", "worker", "for"];
        let jobs: Vec<_> = ledger
            .records
            .iter()
            .map(|(key, record)| job(key, record, now))
            .collect();
        section(&mut text, "jobs", heads, &jobs);
        section(
            &mut text,
            "jobs that are over",
            heads,
            &past(&ledger.past, now),
        );
        if !ledger.aside.is_empty() {
            let aside = ledger.aside.iter();
            let rows: Vec<_> = aside
                .map(|(key, why)| [format!("run/{key}"), why.clone()])
                .collect();
            let title = "set aside, as it can't be read or written (the others go on)";
            section(&mut text, title, ["object", "why"], &rows);
        }
    }
    text
}

/// A heading and its table; without rows, the heading says that there are none.
fn section<const N: usize>(text: &mut String, title: &str, heads: [&str; N], rows: &[[String; N]]) {
    // Writing to a string does not fail.
    let _ = match rows {
        [] => writeln!(text, "\n{title}: none"),
        rows => write!(text, "\n{title}\n{}", table(heads, rows)),
    };
}

/// The leader, and the runners' status in GitLab.
fn leader(ledger: &Overview, now: Timestamp) -> String {
    let Some(leader) = &ledger.leader else {
        return "leader: none yet\n".to_owned();
    };
    let mut text = match &leader.holder {
        Some(holder) => format!(
            "leader: {holder} for {}, term {}, onspot {}\n",
            age(leader.since, now),
            leader.term,
            leader.version
        ),
        None => "leader: none, the last one stepped down\n".to_owned(),
    };
    for (runner, greeting) in &leader.runners {
        let said = match (&greeting.error, greeting.verified_at) {
            (Some(error), _) => error.clone(),
            (None, Some(at)) => format!("GitLab took its token {} ago", age(at, now)),
            (None, None) => "GitLab was not asked yet".to_owned(),
        };
        let _ = writeln!(text, "runner {runner}: {said}");
    }
    for (runner, why) in &leader.launches {
        let why = why.trim_end().replace('\n', "\n  ");
        let _ = writeln!(text, "runner {runner} launches no workers: {why}");
    }
    text
}

fn instance(instance: &InstanceStatus, now: Timestamp) -> [String; 8] {
    let worker = instance.runner.is_some();
    let state = match &instance.reported {
        Some(state) => doing(state).to_owned(),
        None if worker && word(&instance.state) == "running" => "booting".to_owned(),
        None => word(&instance.state),
    };
    let jobs = instance.reported.as_ref().map(|state| {
        let running = state
            .jobs
            .iter()
            .filter(|(_, attempt)| !attempt.phase.is_over());
        running
            .map(|(id, _)| id.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    });
    [
        instance.id.clone(),
        instance.runner.clone().unwrap_or_default(),
        instance.instance_type.clone(),
        instance
            .zone
            .rsplit('-')
            .next()
            .unwrap_or_default()
            .to_owned(),
        word(&instance.lifecycle),
        state,
        age(instance.launched_at, now),
        jobs.unwrap_or_default(),
    ]
}

/// What a worker does, according to its state.
fn doing(state: &State) -> &'static str {
    let busy = state.jobs.values().any(|attempt| !attempt.phase.is_over());
    match (&state.interruption, state.intake, busy) {
        (Some(_), _, _) => "interrupted",
        (None, Intake::Drained, _) => "drained",
        (None, Intake::Draining, _) => "draining",
        (None, Intake::Open, true) => "busy",
        (None, Intake::Open, false) => "idle",
    }
}

fn job(key: &str, record: &Record, now: Timestamp) -> [String; 7] {
    let (state, worker) = match &record.phase {
        Phase::Waiting => ("waiting".to_owned(), String::new()),
        Phase::Assigned { worker } => ("running".to_owned(), worker.instance().to_owned()),
        Phase::Finishing { verdict, worker } | Phase::Done { verdict, worker } => {
            let worker = worker.as_ref().map(|worker| worker.instance().to_owned());
            (
                ending(verdict.ending).to_owned(),
                worker.unwrap_or_default(),
            )
        }
    };
    [
        key.rsplit('/').next().unwrap_or(key).to_owned(),
        record.label.name.clone(),
        record.label.project.clone(),
        state,
        record.attempt.to_string(),
        worker,
        age(record.received_at, now),
    ]
}

/// The last finished jobs, newest first.
fn past(records: &BTreeMap<String, Record>, now: Timestamp) -> Vec<[String; 7]> {
    let mut newest: Vec<_> = records.iter().collect();
    newest.sort_by_key(|(_, record)| std::cmp::Reverse(record.received_at));
    newest
        .into_iter()
        .take(PAST)
        .map(|(key, record)| job(key, record, now))
        .collect()
}

fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Success => "success",
        Ending::Failed => "failed",
        Ending::Canceled => "canceled",
    }
}

/// An enum's value as in JSON, if it has no other name.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word.replace('_', "-"),
        _ => String::new(),
    }
}

/// `45s`, `12m`, `3h 5m`, `2d 4h`.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h {}m", minutes % 60),
        (days, hours, _) => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests;
