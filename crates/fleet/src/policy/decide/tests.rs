//! The policy's bounds on any input, and its rules one by one.

mod refusals;
mod simulation;

use std::collections::BTreeSet;
use std::time::Duration;

use onspot_notation::{Cron, Periods};
use proptest::prelude::*;

use super::*;
use crate::InstanceId;
use crate::policy::IdlePeriod;

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn seconds(count: i64) -> Timestamp {
    START + SignedDuration::from_secs(count)
}

fn worker(id: u32, state: WorkerState) -> WorkerView {
    WorkerView {
        instance: InstanceId::new(format!("i-{id:03}")),
        state,
        launched_at: START,
        uses: 0,
        lifecycle: Lifecycle::Spot,
        pool: None,
        outdated: false,
    }
}

fn view(states: impl IntoIterator<Item = WorkerState>) -> View {
    let workers = (0..)
        .zip(states)
        .map(|(id, state)| worker(id, state))
        .collect();
    View {
        workers,
        ..View::default()
    }
}

fn waiting(count: u32) -> Demand {
    Demand {
        waiting: count,
        ..Demand::default()
    }
}

fn is_idle(worker: &WorkerView) -> bool {
    matches!(worker.state, WorkerState::Idle { .. })
}

fn launched(actions: &[Action], wanted: Lifecycle) -> u32 {
    let counts = actions.iter().map(|action| match action {
        Action::Launch { count, lifecycle } if *lifecycle == wanted => *count,
        _ => 0,
    });
    counts.sum()
}

fn drained(actions: &[Action]) -> Vec<&str> {
    let names = actions.iter().filter_map(|action| match action {
        Action::Drain { instance } => Some(instance.as_str()),
        _ => None,
    });
    names.collect()
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (
        0_u32..12,
        0_u32..6,
        0_u64..600,
        1_u32..4,
        0_u32..4,
        0_u32..4,
        0_u32..3,
    )
        .prop_map(
            |(limit, idle_count, idle_time, capacity, max_uses, max_growth, scale)| Policy {
                limit,
                idle_count,
                idle_time: Duration::from_secs(idle_time),
                capacity_per_instance: capacity,
                max_uses,
                max_growth,
                idle_scale_factor: f64::from(scale) * 0.75,
                ..Policy::default()
            },
        )
}

fn any_state() -> impl Strategy<Value = WorkerState> {
    prop_oneof![
        Just(WorkerState::Launching),
        Just(WorkerState::Booting),
        (0_i64..2000).prop_map(|since| WorkerState::Idle {
            since: seconds(since)
        }),
        (1_u32..4, 0_u32..3).prop_map(|(jobs, free)| WorkerState::Busy { jobs, free }),
        (0_u32..3).prop_map(|jobs| WorkerState::Draining { jobs }),
        Just(WorkerState::Ending),
    ]
}

fn any_view() -> impl Strategy<Value = View> {
    let spot = prop_oneof![Just(Lifecycle::Spot), Just(Lifecycle::OnDemand)];
    let parts = (any_state(), 0_u32..5, spot, 0_i64..2000);
    prop::collection::vec(parts, 0..15).prop_map(|parts| View {
        workers: (0..)
            .zip(parts)
            .map(|(id, (state, uses, lifecycle, launched))| WorkerView {
                uses,
                lifecycle,
                launched_at: seconds(launched),
                ..worker(id, state)
            })
            .collect(),
        ..View::default()
    })
}

fn any_demand() -> impl Strategy<Value = Demand> {
    (0_u32..30, 0_u32..30, 0_u32..10, 0_u64..600).prop_map(
        |(waiting, running, strict, longest_wait)| Demand {
            waiting,
            running,
            waiting_on_demand: strict,
            longest_wait: Duration::from_secs(longest_wait),
        },
    )
}

proptest! {
    #[test]
    fn launches_never_exceed_the_limit_or_the_growth(
        policy in any_policy(), demand in any_demand(), view in any_view()
    ) {
        let actions = decide(&policy, &demand, &view, seconds(2000));
        let new = launched(&actions, Lifecycle::Spot) + launched(&actions, Lifecycle::OnDemand);
        let there = view.workers.iter().filter(|worker| counts(worker));
        let there = u32::try_from(there.count()).unwrap();
        prop_assert!(new == 0 || there + new <= policy.limit);
        prop_assert!(policy.max_growth == 0 || new <= policy.max_growth);
    }

    #[test]
    fn only_workers_without_jobs_are_drained_or_terminated_and_each_once(
        policy in any_policy(), demand in any_demand(), view in any_view()
    ) {
        let actions = decide(&policy, &demand, &view, seconds(2000));
        let mut seen = BTreeSet::new();
        for action in &actions {
            let (instance, reason) = match action {
                Action::Launch { count, .. } => { prop_assert!(*count > 0); continue }
                Action::Drain { instance } => (instance, None),
                Action::Terminate { instance, reason } => (instance, Some(*reason)),
            };
            prop_assert!(seen.insert(instance));
            let worker = view.workers.iter().find(|w| w.instance == *instance).unwrap();
            match reason {
                None => prop_assert!(is_idle(worker)),
                Some(Reason::Drained) =>
                    prop_assert_eq!(worker.state, WorkerState::Draining { jobs: 0 }),
                Some(Reason::NeverReported) => prop_assert!(matches!(
                    worker.state, WorkerState::Launching | WorkerState::Booting)),
            }
        }
    }

    #[test]
    fn nothing_is_launched_while_idle_workers_suffice(
        policy in any_policy(), idle in 1_u32..8, jobs in 0_u32..8
    ) {
        let policy = Policy { idle_count: 0, idle_scale_factor: 0.0, ..policy };
        prop_assume!(jobs <= idle);
        let view = view((0..idle).map(|_| WorkerState::Idle { since: seconds(0) }));
        let actions = decide(&policy, &waiting(jobs), &view, seconds(1));
        prop_assert_eq!(launched(&actions, Lifecycle::Spot), 0);
    }

}

#[test]
fn an_idle_worker_stays_for_its_idle_time() {
    let policy = Policy {
        idle_time: Duration::from_mins(1),
        ..Policy::default()
    };
    let view = view([WorkerState::Idle { since: seconds(0) }]);
    assert_eq!(decide(&policy, &waiting(0), &view, seconds(59)), []);
    assert_eq!(
        drained(&decide(&policy, &waiting(0), &view, seconds(60))),
        ["i-000"]
    );
    assert_eq!(
        decide(&policy, &waiting(1), &view, seconds(60)),
        [],
        "a job waits for it"
    );
}

#[test]
fn the_longest_idle_goes_first_and_the_idle_count_stays() {
    let policy = Policy {
        idle_count: 1,
        idle_time: Duration::from_mins(1),
        ..Policy::default()
    };
    let idle = [30, 10, 20].map(|since| WorkerState::Idle {
        since: seconds(since),
    });
    let actions = decide(&policy, &waiting(0), &view(idle), seconds(1000));
    assert_eq!(drained(&actions), ["i-001", "i-002"]);
}

#[test]
fn a_used_up_worker_takes_no_job_and_goes_at_once() {
    let policy = Policy {
        max_uses: 3,
        ..Policy::default()
    };
    let mut view = view([WorkerState::Idle { since: seconds(0) }]);
    view.workers[0].uses = 3;
    let actions = decide(&policy, &waiting(1), &view, seconds(1));
    assert_eq!(launched(&actions, Lifecycle::Spot), 1);
    assert_eq!(drained(&actions), ["i-000"]);
}

#[test]
fn second_attempts_get_on_demand_and_nothing_else() {
    let demand = Demand {
        waiting: 3,
        waiting_on_demand: 2,
        ..Demand::default()
    };
    let idle_spot = view([WorkerState::Idle { since: seconds(0) }]);
    let actions = decide(&Policy::default(), &demand, &idle_spot, seconds(1));
    assert_eq!(
        actions,
        [Action::Launch {
            count: 2,
            lifecycle: Lifecycle::OnDemand
        }]
    );
}

#[test]
fn slots_are_filled_before_instances_are_launched() {
    let policy = Policy {
        capacity_per_instance: 4,
        ..Policy::default()
    };
    let busy = view([WorkerState::Busy { jobs: 1, free: 3 }]);
    let actions = decide(&policy, &waiting(8), &busy, seconds(1));
    assert_eq!(launched(&actions, Lifecycle::Spot), 2);
}

#[test]
fn a_worker_that_never_reports_is_replaced() {
    let policy = Policy::default();
    let booting = view([WorkerState::Booting]);
    let late = i64::try_from(policy.boot_limit.as_secs()).unwrap() + 1;
    assert_eq!(
        decide(&policy, &waiting(1), &booting, seconds(late - 1)),
        []
    );
    let actions = decide(&policy, &waiting(1), &booting, seconds(late));
    let instance = InstanceId::new("i-000");
    assert_eq!(
        actions,
        [
            Action::Terminate {
                instance,
                reason: Reason::NeverReported
            },
            Action::Launch {
                count: 1,
                lifecycle: Lifecycle::Spot
            },
        ]
    );
}

#[test]
fn the_idle_count_follows_the_load_between_its_bounds() {
    let policy = Policy {
        idle_count: 4,
        idle_count_min: 2,
        idle_scale_factor: 0.5,
        ..Policy::default()
    };
    for (busy, idle) in [(0, 2), (2, 2), (6, 3), (8, 4), (100, 4)] {
        assert_eq!(idle_target(&policy, busy), idle, "{busy} busy");
    }
    let least = Policy {
        idle_count_min: 0,
        ..policy
    };
    assert_eq!(idle_target(&least, 0), 0);
}

#[test]
fn the_idle_numbers_follow_the_clock_and_the_last_period_that_holds_wins() {
    let period = |cron: &str, idle_count| IdlePeriod {
        when: Periods::new(
            vec![Cron::five(cron).unwrap()],
            Periods::zone("Europe/Berlin").unwrap(),
        ),
        idle_count,
        idle_count_min: 0,
        idle_scale_factor: 0.0,
        idle_time: Duration::from_mins(30),
    };
    let policy = Policy {
        idle_count: 1,
        periods: vec![period("* 8-17 * * *", 4), period("* * * * sat,sun", 0)],
        ..Policy::default()
    };
    // 2026-07-03 is a Friday; Berlin is two hours ahead of UTC then.
    for (at, launches) in [
        ("2026-07-03T05:59:59Z", 1),
        ("2026-07-03T06:00:00Z", 4),
        ("2026-07-03T15:59:59Z", 4),
        ("2026-07-03T16:00:00Z", 1),
        ("2026-07-04T10:00:00Z", 0),
    ] {
        let now = at.parse().unwrap();
        let actions = decide(&policy, &Demand::default(), &View::default(), now);
        assert_eq!(launched(&actions, Lifecycle::Spot), launches, "{at}");
    }
    let friday = "2026-07-03T07:00:00Z".parse().unwrap();
    assert_eq!(policy.at(friday).idle_time, Duration::from_mins(30));
}
