//! How many workers there should be, by the scaling policy of `onspot_fleet`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use onspot_fleet::{Action as Scale, Demand, Lifecycle, WorkerState, decide};
use onspot_ledger::WorkerId;

use super::Action;
use super::place::waiting;
use super::view::{Place, RunnerView, Stage, WorkerView, count};

/// What to launch, drain and terminate once the jobs in `placed` are given away.
pub(super) fn actions(
    runner: &RunnerView,
    overdue: &BTreeSet<u64>,
    placed: &BTreeMap<u64, WorkerId>,
    now: Timestamp,
) -> Vec<Action> {
    let Some(policy) = runner.policy.as_ref().filter(|_| runner.observed) else {
        return Vec::new();
    };
    let demand = demand(runner, overdue, placed, now);
    let view = onspot_fleet::View {
        workers: runner
            .workers
            .iter()
            .map(|worker| worker_view(worker, placed))
            .collect(),
        pools: runner.pools.clone(),
        candidates: runner.candidates.clone(),
        boots: runner.boots.clone(),
    };
    let named = |instance: &onspot_fleet::InstanceId| {
        runner
            .workers
            .iter()
            .find(|worker| worker.instance == *instance)
    };
    let scaled = decide(policy, &demand, &view, now).into_iter();
    scaled
        .filter_map(|scale| match scale {
            Scale::Launch { count, lifecycle } => Some(Action::Launch {
                runner: runner.name.clone(),
                count,
                lifecycle,
            }),
            Scale::Drain { instance } => named(&instance).map(|worker| Action::Drain {
                worker: worker.id.clone(),
            }),
            Scale::Terminate { instance, reason } => Some(Action::Terminate {
                runner: runner.name.clone(),
                instance,
                reason,
            }),
        })
        .collect()
}

/// What the jobs want. Those that a leaving worker is about to lose want a place already, so
/// that its replacement boots while they still run.
fn demand(
    runner: &RunnerView,
    overdue: &BTreeSet<u64>,
    placed: &BTreeMap<u64, WorkerId>,
    now: Timestamp,
) -> Demand {
    let homeless: Vec<_> = waiting(runner, overdue)
        .into_iter()
        .filter(|job| !placed.contains_key(&job.id))
        .collect();
    let losing: u32 = runner.workers.iter().map(losing_jobs).sum();
    let with = count(
        runner
            .jobs
            .iter()
            .filter(|job| matches!(job.place, Place::With(_))),
    );
    let waited =
        |since: Timestamp| Duration::try_from(since.duration_until(now)).unwrap_or_default();
    Demand {
        waiting: count(homeless.iter()) + losing,
        running: with + count(placed.iter()),
        waiting_on_demand: count(homeless.iter().filter(|job| job.is_strict())) + losing,
        longest_wait: homeless
            .first()
            .map(|job| waited(job.received_at))
            .unwrap_or_default(),
    }
}

fn losing_jobs(worker: &WorkerView) -> u32 {
    match worker.stage {
        Stage::Leaving {
            jobs, losing: true, ..
        }
        | Stage::Ending { jobs } => jobs,
        _ => 0,
    }
}

fn worker_view(worker: &WorkerView, placed: &BTreeMap<u64, WorkerId>) -> onspot_fleet::WorkerView {
    let new = count(placed.values().filter(|id| **id == worker.id));
    let state = match worker.stage {
        Stage::Launching => WorkerState::Launching,
        Stage::Booting => WorkerState::Booting,
        Stage::Ready {
            free,
            jobs: 0,
            idle_since,
        } if new == 0 && free > 0 => WorkerState::Idle {
            since: idle_since.unwrap_or(worker.launched_at),
        },
        Stage::Ready { free, jobs, .. } => WorkerState::Busy {
            jobs: jobs + new,
            free: free.saturating_sub(new),
        },
        Stage::Ending { .. } => WorkerState::Ending,
        // The policy terminates whoever drains and has no job: not before the worker said so.
        Stage::Leaving { jobs, done, .. } => WorkerState::Draining {
            jobs: if done { jobs } else { jobs.max(1) },
        },
    };
    onspot_fleet::WorkerView {
        instance: worker.instance.clone(),
        state,
        launched_at: worker.launched_at,
        uses: worker.uses + new,
        lifecycle: worker.lifecycle.unwrap_or(Lifecycle::OnDemand),
        pool: worker.pool.clone(),
        outdated: worker.outdated,
    }
}
