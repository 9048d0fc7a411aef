//! Workers of an older launch template are replaced, a few at a time.

use super::{Action, View, WorkerState, WorkerView};

/// One in so many workers may be on its way out for this at a time, but always one.
const AT_ONCE: usize = 10;

/// The outdated workers to drain now, beside those in `leaving`.
///
/// A worker that is drained takes nothing new, ends what it has and goes; what then is missing is
/// launched like anything else that is missing. So a worker that is never idle comes to its end as
/// well, and a job is never cut off. The idle ones go first, as that costs nothing; but one that is
/// kept ready goes only when no other is on its way, so that the others are ready meanwhile.
pub(super) fn drains(view: &View, leaving: &[Action]) -> Vec<Action> {
    let of_leaving = |worker: &WorkerView| {
        leaving.iter().any(|action| match action {
            Action::Drain { instance } | Action::Terminate { instance, .. } => {
                *instance == worker.instance
            }
            Action::Launch { .. } => false,
        })
    };
    let goes = |worker: &WorkerView| {
        matches!(worker.state, WorkerState::Draining { .. }) || of_leaving(worker)
    };
    let outdated = || view.workers.iter().filter(|worker| worker.outdated);
    let going = outdated().filter(|worker| goes(worker)).count();
    let at_once = (view.workers.len() / AT_ONCE).max(1);
    let coming = view
        .workers
        .iter()
        .any(|worker| matches!(worker.state, WorkerState::Launching | WorkerState::Booting));
    let rank = |worker: &WorkerView| match worker.state {
        WorkerState::Idle { .. } if !coming => Some(0),
        WorkerState::Busy { .. } => Some(1),
        // One that boots is drained once it has reported.
        _ => None,
    };
    let mut next: Vec<(u8, &WorkerView)> = outdated()
        .filter(|worker| !goes(worker))
        .filter_map(|worker| Some((rank(worker)?, worker)))
        .collect();
    // The oldest first; ids make the order total.
    next.sort_by_key(|(rank, worker)| (*rank, worker.launched_at, worker.instance.clone()));
    let next = next.into_iter().take(at_once.saturating_sub(going));
    next.map(|(_, worker)| Action::Drain {
        instance: worker.instance.clone(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{Demand, InstanceId, Lifecycle, Policy, decide};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const BUSY: WorkerState = WorkerState::Busy { jobs: 1, free: 0 };
    const IDLE: WorkerState = WorkerState::Idle { since: NOW };

    fn view(workers: &[(WorkerState, bool)]) -> View {
        let workers = workers.iter().zip(0..);
        View {
            workers: workers
                .map(|((state, outdated), id)| WorkerView {
                    instance: InstanceId::new(format!("i-{id:02}")),
                    state: *state,
                    launched_at: NOW,
                    uses: 0,
                    lifecycle: Lifecycle::Spot,
                    pool: None,
                    outdated: *outdated,
                })
                .collect(),
            ..View::default()
        }
    }

    fn drained(view: &View) -> Vec<String> {
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
                Action::Drain { instance } => Some(instance.to_string()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn workers_of_an_older_template_are_drained_one_by_one_also_busy_ones() {
        let busy = view(&[(BUSY, false), (BUSY, true), (BUSY, true)]);
        assert_eq!(drained(&busy), ["i-01"]);
        let leaving = WorkerState::Draining { jobs: 1 };
        let next = view(&[(BUSY, false), (leaving, true), (BUSY, true)]);
        assert!(drained(&next).is_empty(), "one at a time");
        let gone = view(&[(BUSY, false), (BUSY, true)]);
        assert_eq!(drained(&gone), ["i-01"]);
        assert!(drained(&view(&[(BUSY, false), (IDLE, false)])).is_empty());
    }

    #[test]
    fn one_that_is_kept_ready_goes_once_its_replacement_is_ready() {
        assert_eq!(drained(&view(&[(BUSY, true), (IDLE, true)])), ["i-01"]);
        let coming = view(&[(WorkerState::Booting, false), (IDLE, true), (IDLE, true)]);
        assert!(drained(&coming).is_empty());
        let came = view(&[(IDLE, false), (IDLE, true), (IDLE, true)]);
        assert_eq!(drained(&came), ["i-01"]);
    }

    #[test]
    fn a_big_fleet_is_not_renewed_one_by_one() {
        assert_eq!(drained(&view(&[(BUSY, true); 40])).len(), 4);
    }
}
