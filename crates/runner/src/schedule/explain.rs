//! Why a job waits, in words for its trace.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use onspot_fleet::{Lifecycle, Pool};
use onspot_ledger::{JobKey, WorkerId};

use super::Action;
use super::obstacle::{all_out, none_left, obstacles};
use super::place::waiting;
use super::view::{JobView, RunnerView, Stage, WorkerView, count};

/// A text for every job that stays waiting. The same situation gives the same text, so that a
/// trace gets a line only when something changed.
pub(super) fn reasons(
    runner: &RunnerView,
    overdue: &BTreeSet<u64>,
    placed: &BTreeMap<u64, WorkerId>,
    capacity: &[Action],
    now: Timestamp,
) -> Vec<Action> {
    waiting(runner, overdue)
        .into_iter()
        .filter(|job| !placed.contains_key(&job.id))
        .map(|job| Action::Explain {
            job: JobKey::new(&runner.name, job.id),
            text: reason(runner, job, capacity, now),
        })
        .collect()
}

fn reason(runner: &RunnerView, job: &JobView, capacity: &[Action], now: Timestamp) -> String {
    if !runner.observed {
        return "Waiting for a worker.".to_owned();
    }
    let Some(policy) = &runner.policy else {
        return "Waiting: all slots of this host are taken.".to_owned();
    };
    let kind = if job.is_strict() {
        Lifecycle::OnDemand
    } else {
        policy.lifecycle
    };
    let mut parts = obstacles(runner, kind, now);
    let coming: Vec<&WorkerView> = runner
        .workers
        .iter()
        .filter(|w| is_coming(w, job))
        .collect();
    let launched: u32 = capacity.iter().map(|action| launches(action, job)).sum();
    let counted = runner.workers.iter();
    let total = count(counted.filter(|w| !matches!(w.stage, Stage::Ending { .. })));
    if let Some(worker) = coming.first() {
        parts.push(coming_text(worker, coming.len()));
    } else if launched > 0 {
        parts.push(format!("Launching {}.", machines(launched, kind)));
    } else if total >= policy.limit {
        parts.push(format!(
            "All {} of this runner are taken (limit {}).",
            machines(total, kind),
            policy.limit
        ));
    } else if all_out(runner, kind, now) {
        parts.push(none_left(runner, kind, now));
    } else if parts.is_empty() {
        parts.push("No worker is free.".to_owned());
    }
    format!("Waiting for a worker. {}", parts.join(" "))
}

fn is_coming(worker: &WorkerView, job: &JobView) -> bool {
    matches!(worker.stage, Stage::Launching | Stage::Booting) && worker.suits(job)
}

fn coming_text(worker: &WorkerView, number: usize) -> String {
    let what = match worker.stage {
        Stage::Launching => "is being launched",
        _ => "boots",
    };
    let pool = worker.pool.as_ref().map(Pool::to_string);
    let first = match pool {
        Some(pool) => format!("{} ({pool}) {what}", worker.instance),
        None => format!("An instance {what}"),
    };
    if number > 1 {
        format!("{first}, {} more as well.", number - 1)
    } else {
        format!("{first}.")
    }
}

fn launches(action: &Action, job: &JobView) -> u32 {
    match action {
        Action::Launch {
            count, lifecycle, ..
        } if !job.is_strict() || *lifecycle == Lifecycle::OnDemand => *count,
        _ => 0,
    }
}

fn machines(count: u32, kind: Lifecycle) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {kind} instance{plural}")
}
