//! Workers of an older launch template are replaced, a few at a time.

use std::collections::BTreeSet;

use super::{Scale, Stage, View, Worker};

/// One in this many workers may be leaving for renewal at a time, and always at least one.
const AT_ONCE: usize = 10;

/// The outdated workers to drain now, beside those in `leaving`.
///
/// A drained worker takes no new jobs, finishes those it has and is terminated; the policy then
/// launches replacements as for any missing capacity. This way workers that are never idle are
/// renewed too, and no job is cut off. Idle workers go first, because that costs nothing. A worker
/// of the idle reserve goes only while no other worker is launching, so that the rest of the
/// reserve stays ready.
pub(super) fn drains<Id: Clone + Ord>(view: &View<Id>, leaving: &[Scale<Id>]) -> Vec<Scale<Id>> {
    let leaving: BTreeSet<&Id> = leaving
        .iter()
        .filter_map(|action| match action {
            Scale::Drain { worker } | Scale::Terminate { worker, .. } => Some(worker),
            Scale::Launch { .. } => None,
        })
        .collect();
    let goes = |worker: &Worker<Id>| {
        matches!(worker.stage, Stage::Leaving { .. }) || leaving.contains(&worker.id)
    };
    let outdated = || view.workers.iter().filter(|worker| worker.outdated);
    let going = outdated().filter(|worker| goes(worker)).count();
    let at_once = (view.workers.len() / AT_ONCE).max(1);
    let coming = view.workers.iter().any(Worker::is_coming);
    // A booting worker is drained only once it has reported.
    let rank = |worker: &Worker<Id>| match worker.stage {
        Stage::Ready { .. } if worker.is_busy() => Some(1),
        Stage::Ready { .. } if !coming => Some(0),
        _ => None,
    };
    let mut next: Vec<(u8, &Worker<Id>)> = outdated()
        .filter(|worker| !goes(worker))
        .filter_map(|worker| Some((rank(worker)?, worker)))
        .collect();
    // The oldest first; ids make the order total.
    next.sort_by_key(|(rank, worker)| (*rank, worker.launched_at, worker.id.clone()));
    let next = next.into_iter().take(at_once.saturating_sub(going));
    next.map(|(_, worker)| Scale::Drain {
        worker: worker.id.clone(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{Demand, InstanceId, Lifecycle, Policy, Pool, decide};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const BUSY: Stage = Stage::Ready {
        free: 0,
        jobs: 1,
        idle_since: None,
    };
    const IDLE: Stage = Stage::Ready {
        free: 1,
        jobs: 0,
        idle_since: Some(NOW),
    };

    fn view(workers: &[(Stage, bool)]) -> View<InstanceId> {
        let workers = workers.iter().zip(0..);
        View {
            workers: workers
                .map(|((stage, outdated), id)| Worker {
                    id: InstanceId::new(format!("i-{id:02}")),
                    stage: *stage,
                    launched_at: NOW,
                    uses: 0,
                    pool: Pool::unknown(Lifecycle::Spot),
                    outdated: *outdated,
                })
                .collect(),
            ..View::default()
        }
    }

    fn drained(view: &View<InstanceId>) -> Vec<String> {
        let policy = Policy {
            limit: 100,
            idle_count: 2,
            ..Policy::default()
        };
        let demand = Demand {
            running: 1,
            ..Demand::default()
        };
        let actions = decide(&policy, &demand, view, NOW).into_iter();
        actions
            .filter_map(|action| match action {
                Scale::Drain { worker } => Some(worker.to_string()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn workers_of_an_older_template_are_drained_one_by_one_also_busy_ones() {
        let busy = view(&[(BUSY, false), (BUSY, true), (BUSY, true)]);
        assert_eq!(drained(&busy), ["i-01"]);
        let leaving = Stage::Leaving {
            jobs: 1,
            losing: false,
            done: true,
        };
        let next = view(&[(BUSY, false), (leaving, true), (BUSY, true)]);
        assert!(drained(&next).is_empty(), "one at a time");
        let gone = view(&[(BUSY, false), (BUSY, true)]);
        assert_eq!(drained(&gone), ["i-01"]);
        assert!(drained(&view(&[(BUSY, false), (IDLE, false)])).is_empty());
    }

    #[test]
    fn one_that_is_kept_ready_goes_once_its_replacement_is_ready() {
        assert_eq!(drained(&view(&[(BUSY, true), (IDLE, true)])), ["i-01"]);
        let coming = view(&[(Stage::Booting, false), (IDLE, true), (IDLE, true)]);
        assert!(drained(&coming).is_empty());
        let came = view(&[(IDLE, false), (IDLE, true), (IDLE, true)]);
        assert_eq!(drained(&came), ["i-01"]);
    }

    #[test]
    fn a_big_fleet_is_not_renewed_one_by_one() {
        assert_eq!(drained(&view(&[(BUSY, true); 40])).len(), 4);
    }
}
