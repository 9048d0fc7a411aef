//! How many workers there should be, by the scaling policy of `onspot_fleet`.

use std::time::Duration;

use jiff::Timestamp;
use onspot_fleet::{Demand, Scale, Stage, Worker, decide};
use onspot_ledger::WorkerId;

use super::view::{Place, RunnerView, count};

/// What to launch, drain and terminate for the current places of the jobs.
pub(super) fn scale(runner: &RunnerView, now: Timestamp) -> Vec<Scale<WorkerId>> {
    let Some(policy) = runner.policy.as_ref().filter(|_| runner.observed) else {
        return Vec::new();
    };
    decide(policy, &demand(runner, now), &runner.fleet, now)
}

/// The demand of the jobs. Jobs that a leaving worker is about to lose already count as waiting, so
/// that its replacement boots while they still run.
fn demand(runner: &RunnerView, now: Timestamp) -> Demand {
    let waiting = runner.waiting();
    let losing: u32 = runner.fleet.workers.iter().map(losing_jobs).sum();
    let jobs = runner.jobs.iter();
    let waited =
        |since: Timestamp| Duration::try_from(since.duration_until(now)).unwrap_or_default();
    Demand {
        waiting: count(waiting.iter()) + losing,
        running: count(jobs.filter(|job| matches!(job.place, Place::With(_)))),
        waiting_on_demand: count(waiting.iter().filter(|job| job.is_strict())) + losing,
        longest_wait: waiting
            .first()
            .map(|job| waited(job.received_at))
            .unwrap_or_default(),
    }
}

fn losing_jobs(worker: &Worker<WorkerId>) -> u32 {
    match worker.stage {
        Stage::Leaving {
            jobs, losing: true, ..
        }
        | Stage::Ending { jobs } => jobs,
        _ => 0,
    }
}
