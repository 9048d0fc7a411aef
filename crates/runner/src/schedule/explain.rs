//! Why a job waits, in words for its trace.

use jiff::Timestamp;
use onspot_fleet::{Lifecycle, Policy, Scale, Stage, Worker};
use onspot_ledger::WorkerId;

use super::obstacle::{all_out, none_left, obstacles};
use super::view::{JobView, RunnerView, count};

/// A text for every job that still waits. The same situation gives the same text, so that a trace
/// gets a new line only when something has changed.
pub(super) fn reasons(
    runner: &RunnerView,
    scaled: &[Scale<WorkerId>],
    now: Timestamp,
) -> Vec<(u64, String)> {
    // Jobs with the same needs wait for the same reason.
    let mut known: [Option<String>; 2] = [None, None];
    let waiting = runner.waiting().into_iter();
    waiting
        .map(|job| {
            let known = &mut known[usize::from(job.is_strict())];
            let text = known.get_or_insert_with(|| reason(runner, job, scaled, now));
            (job.id, text.clone())
        })
        .collect()
}

fn reason(
    runner: &RunnerView,
    job: &JobView,
    scaled: &[Scale<WorkerId>],
    now: Timestamp,
) -> String {
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
    let workers = || runner.fleet.workers.iter();
    let mut coming = workers().filter(|worker| worker.is_coming() && job.suits(worker));
    let launched: u32 = scaled.iter().map(|scale| launches(scale, job)).sum();
    let total = count(workers().filter(|worker| worker.counts()));
    if let Some(worker) = coming.next() {
        parts.push(coming_text(worker, coming.count()));
    } else if launched > 0 {
        parts.push(format!("Launching {}.", machines(launched, kind)));
    } else if total >= policy.limit {
        parts.push(all_taken(total, kind, policy));
    } else if all_out(runner, kind, now) {
        parts.push(none_left(runner, kind, now));
    } else if parts.is_empty() {
        parts.push("No worker is free.".to_owned());
    }
    format!("Waiting for a worker. {}", parts.join(" "))
}

fn all_taken(total: u32, kind: Lifecycle, policy: &Policy) -> String {
    let (all, limit) = (machines(total, kind), policy.limit);
    format!("All {all} of this runner are taken (limit {limit}).")
}

fn coming_text(worker: &Worker<WorkerId>, more: usize) -> String {
    let what = match worker.stage {
        Stage::Launching => "is being launched",
        _ => "boots",
    };
    let first = if worker.pool.is_known() {
        format!("{} ({}) {what}", worker.id.instance(), worker.pool)
    } else {
        format!("An instance {what}")
    };
    if more > 0 {
        format!("{first}, {more} more as well.")
    } else {
        format!("{first}.")
    }
}

fn launches(scale: &Scale<WorkerId>, job: &JobView) -> u32 {
    match scale {
        Scale::Launch { count, lifecycle }
            if !job.is_strict() || *lifecycle == Lifecycle::OnDemand =>
        {
            *count
        }
        _ => 0,
    }
}

fn machines(count: u32, kind: Lifecycle) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {kind} instance{plural}")
}
