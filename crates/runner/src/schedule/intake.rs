//! How many jobs to ask GitLab for: never more than can be placed.

use std::collections::BTreeMap;

use onspot_fleet::Stage;
use onspot_ledger::RunnerName;

use super::view::{RunnerView, View, count};

/// How many new requests for a job each runner may send now.
///
/// A request is a reservation: it counts like a job until it is answered. So the jobs and requests
/// of all runners never exceed `concurrent`, those of one runner never exceed its `limit`, and
/// never the places on its workers, including workers that may still be launched.
pub fn intake(view: &View) -> BTreeMap<RunnerName, u32> {
    let taken: u32 = view.runners.iter().map(|r| r.in_flight() + r.asking).sum();
    let mut room = view.concurrent.saturating_sub(taken);
    // The runner with the fewest jobs goes first, then the one that has asked least often. Without
    // the latter, as GitLab holds each request, the same few runners would ask for ever.
    let mut runners: Vec<&RunnerView> = view.runners.iter().collect();
    runners.sort_by_key(|runner| (runner.in_flight() + runner.asking, runner.asked));
    let mut permits = BTreeMap::new();
    for runner in runners {
        let own = room_of(runner).min(room);
        room -= own;
        permits.insert(runner.name.clone(), own);
    }
    permits
}

fn room_of(runner: &RunnerView) -> u32 {
    let taken = runner.in_flight() + runner.asking;
    let by_limit = match runner.limit {
        0 => u32::MAX,
        limit => limit.saturating_sub(taken),
    };
    let by_requests = runner
        .request_concurrency
        .max(1)
        .saturating_sub(runner.asking);
    by_limit
        .min(by_requests)
        .min(places(runner).saturating_sub(taken))
}

/// All places for jobs, including taken ones, on existing workers and on those that may be
/// launched.
fn places(runner: &RunnerView) -> u32 {
    let workers = || runner.fleet.workers.iter();
    let here = workers().map(|worker| match &worker.stage {
        Stage::Ready { free, jobs, .. } => free + jobs,
        Stage::Leaving { jobs, .. } | Stage::Ending { jobs } => *jobs,
        Stage::Launching | Stage::Booting => 0,
    });
    let here: u32 = here.sum();
    let Some(policy) = &runner.policy else {
        return here;
    };
    // Workers that count against the limit but offer no new places.
    let counted = workers().filter(|worker| worker.counts() && !worker.is_coming());
    let more = policy.limit.saturating_sub(count(counted));
    here + more.saturating_mul(policy.capacity_per_instance.max(1))
}
