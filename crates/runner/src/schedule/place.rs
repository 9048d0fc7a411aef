//! Which waiting job goes to which worker.

use std::collections::{BTreeMap, BTreeSet};

use onspot_fleet::{Lifecycle, Stage, Worker};
use onspot_ledger::WorkerId;

use super::view::{JobView, Place, RunnerView};

/// The jobs to assign now, by GitLab's number. The oldest jobs choose first.
///
/// Workers that have jobs are preferred over idle ones, so that idle ones can be terminated. A job
/// that must not be lost again goes only to an on-demand worker. Ids make the choice deterministic.
///
/// Nothing is assigned before the instances were observed, because a worker that the ledger still
/// knows may be gone or about to go.
pub(super) fn assignments(runner: &mut RunnerView) -> BTreeMap<u64, WorkerId> {
    if !runner.observed {
        return BTreeMap::new();
    }
    let max_uses = runner.policy.as_ref().map_or(0, |policy| policy.max_uses);
    let workers = &mut runner.fleet.workers;
    let mut open = Open::default();
    for (index, worker) in workers.iter().enumerate() {
        open.offer(worker, index, max_uses);
    }
    let jobs = runner.jobs.iter_mut();
    let mut waiting: Vec<&mut JobView> = jobs.filter(|job| job.place == Place::Waiting).collect();
    waiting.sort_by_key(|job| (job.received_at, job.id));
    let mut placed = BTreeMap::new();
    for job in waiting {
        let Some(index) = open.take(job.is_strict()) else {
            continue;
        };
        let worker = &mut workers[index];
        worker.take_job();
        open.offer(worker, index, max_uses);
        job.place = Place::With(worker.id.clone());
        placed.insert(job.id, worker.id.clone());
    }
    placed
}

/// The workers that take jobs now, the fullest first: their free places, their ids and their
/// indices. Sorted, so that a thousand jobs do not each search a thousand workers.
#[derive(Default)]
struct Open {
    spot: BTreeSet<(u32, WorkerId, usize)>,
    on_demand: BTreeSet<(u32, WorkerId, usize)>,
}

impl Open {
    fn offer(&mut self, worker: &Worker<WorkerId>, index: usize, max_uses: u32) {
        let room = room(worker, max_uses);
        if room > 0 {
            let kind = match worker.pool.lifecycle {
                Lifecycle::Spot => &mut self.spot,
                Lifecycle::OnDemand => &mut self.on_demand,
            };
            kind.insert((room, worker.id.clone(), index));
        }
    }

    /// Takes the best worker for a job off the list.
    fn take(&mut self, strict: bool) -> Option<usize> {
        let safe = self.on_demand.first();
        let spot = self.spot.first().filter(|_| !strict);
        let from = match (safe, spot) {
            (safe, Some(spot)) if safe.is_none_or(|safe| spot < safe) => &mut self.spot,
            _ => &mut self.on_demand,
        };
        from.pop_first().map(|(_, _, index)| index)
    }
}

/// How many more jobs a worker takes now.
fn room(worker: &Worker<WorkerId>, max_uses: u32) -> u32 {
    let Stage::Ready { free, .. } = worker.stage else {
        return 0;
    };
    match max_uses {
        0 => free,
        most => free.min(most.saturating_sub(worker.uses)),
    }
}
