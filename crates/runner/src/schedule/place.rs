//! Which waiting job goes to which worker.

use std::collections::{BTreeMap, BTreeSet};

use onspot_ledger::WorkerId;

use super::view::{JobView, Place, RunnerView, Stage, WorkerView};

/// The jobs that can be given away now, by GitLab's number. Oldest jobs choose first.
///
/// A worker that has jobs is preferred over an idle one, so that idle ones can be given back;
/// for a job that must not be lost again, one that nobody takes away; then ids make the choice
/// the same every time.
///
/// Nothing is given away before the machines were looked at: a worker that the ledger still knows
/// may be gone, or about to be.
pub(super) fn assignments(runner: &RunnerView, overdue: &BTreeSet<u64>) -> BTreeMap<u64, WorkerId> {
    if !runner.observed {
        return BTreeMap::new();
    }
    let mut free: BTreeMap<&WorkerId, u32> = runner
        .workers
        .iter()
        .map(|worker| (&worker.id, room(runner, worker)))
        .collect();
    let mut placed = BTreeMap::new();
    for job in waiting(runner, overdue) {
        let open = runner
            .workers
            .iter()
            .filter(|w| free[&w.id] > 0 && w.suits(job));
        let Some(worker) = open.min_by_key(|worker| preference(worker, free[&worker.id])) else {
            continue;
        };
        if let Some(slots) = free.get_mut(&worker.id) {
            *slots -= 1;
        }
        placed.insert(job.id, worker.id.clone());
    }
    placed
}

/// The jobs that wait and are not overdue, oldest first.
pub(super) fn waiting<'a>(runner: &'a RunnerView, overdue: &BTreeSet<u64>) -> Vec<&'a JobView> {
    let mut waiting: Vec<&JobView> = runner
        .jobs
        .iter()
        .filter(|job| job.place == Place::Waiting && !overdue.contains(&job.id))
        .collect();
    waiting.sort_by_key(|job| (job.received_at, job.id));
    waiting
}

/// How many more jobs a worker takes now.
fn room(runner: &RunnerView, worker: &WorkerView) -> u32 {
    let Stage::Ready { free, .. } = worker.stage else {
        return 0;
    };
    match runner.policy.as_ref().map_or(0, |policy| policy.max_uses) {
        0 => free,
        most => free.min(most.saturating_sub(worker.uses)),
    }
}

fn preference(worker: &WorkerView, free: u32) -> (u32, &WorkerId) {
    (free, &worker.id)
}
