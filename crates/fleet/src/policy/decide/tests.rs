//! The policy's bounds on any input, and its rules one by one.

mod refusals;
mod simulation;

use std::collections::BTreeSet;
use std::time::Duration;

use onspot_notation::{Cron, Periods};
use proptest::prelude::*;

use super::*;
use crate::InstanceId;
use onspot_settings::IdlePeriod;

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn seconds(count: i64) -> Timestamp {
    START + SignedDuration::from_secs(count)
}

type View = super::View<InstanceId>;
type Action = Scale<InstanceId>;

fn worker(id: u32, stage: Stage) -> Worker<InstanceId> {
    Worker {
        id: InstanceId::new(format!("i-{id:03}")),
        stage,
        launched_at: START,
        uses: 0,
        pool: Pool::unknown(Lifecycle::Spot),
        outdated: false,
    }
}

fn idle(since: i64) -> Stage {
    Stage::Ready {
        free: 1,
        jobs: 0,
        idle_since: Some(seconds(since)),
    }
}

fn busy(jobs: u32, free: u32) -> Stage {
    Stage::Ready {
        free,
        jobs,
        idle_since: None,
    }
}

fn drained_with(jobs: u32) -> Stage {
    Stage::Leaving {
        jobs,
        losing: false,
        done: true,
    }
}

fn view(stages: impl IntoIterator<Item = Stage>) -> View {
    let workers = (0..)
        .zip(stages)
        .map(|(id, stage)| worker(id, stage))
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

fn is_idle(worker: &Worker<InstanceId>) -> bool {
    worker.idle_since().is_some()
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
        Action::Drain { worker } => Some(worker.as_str()),
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

fn any_stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        Just(Stage::Launching),
        Just(Stage::Booting),
        (0_i64..2000).prop_map(idle),
        (1_u32..4, 0_u32..3).prop_map(|(jobs, free)| busy(jobs, free)),
        (0_u32..3).prop_map(drained_with),
        Just(Stage::Ending { jobs: 0 }),
    ]
}

fn any_view() -> impl Strategy<Value = View> {
    let spot = prop_oneof![Just(Lifecycle::Spot), Just(Lifecycle::OnDemand)];
    let parts = (any_stage(), 0_u32..5, spot, 0_i64..2000);
    prop::collection::vec(parts, 0..15).prop_map(|parts| View {
        workers: (0..)
            .zip(parts)
            .map(|(id, (stage, uses, lifecycle, launched))| Worker {
                uses,
                pool: Pool::unknown(lifecycle),
                launched_at: seconds(launched),
                ..worker(id, stage)
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
        let there = view.workers.iter().filter(|worker| worker.counts());
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
            let (id, reason) = match action {
                Action::Launch { count, .. } => { prop_assert!(*count > 0); continue }
                Action::Drain { worker } => (worker, None),
                Action::Terminate { worker, reason } => (worker, Some(*reason)),
            };
            prop_assert!(seen.insert(id));
            let worker = view.workers.iter().find(|w| w.id == *id).unwrap();
            match reason {
                None => prop_assert!(is_idle(worker)),
                Some(Reason::Drained) =>
                    prop_assert_eq!(worker.stage, drained_with(0)),
                Some(Reason::NeverReported) => prop_assert!(worker.is_coming()),
            }
        }
    }

    #[test]
    fn nothing_is_launched_while_idle_workers_suffice(
        policy in any_policy(), ready in 1_u32..8, jobs in 0_u32..8
    ) {
        let policy = Policy { idle_count: 0, idle_scale_factor: 0.0, ..policy };
        prop_assume!(jobs <= ready);
        let view = view((0..ready).map(|_| idle(0)));
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
    let view = view([idle(0)]);
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
    let idle = [30, 10, 20].map(idle);
    let actions = decide(&policy, &waiting(0), &view(idle), seconds(1000));
    assert_eq!(drained(&actions), ["i-001", "i-002"]);
}

#[test]
fn a_used_up_worker_takes_no_job_and_goes_at_once() {
    let policy = Policy {
        max_uses: 3,
        ..Policy::default()
    };
    let mut view = view([idle(0)]);
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
    let idle_spot = view([idle(0)]);
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
    let filling = view([busy(1, 3)]);
    let actions = decide(&policy, &waiting(8), &filling, seconds(1));
    assert_eq!(launched(&actions, Lifecycle::Spot), 2);
}

#[test]
fn a_worker_that_never_reports_is_replaced() {
    let policy = Policy::default();
    let booting = view([Stage::Booting]);
    let late = i64::try_from(policy.boot_limit.as_secs()).unwrap() + 1;
    assert_eq!(
        decide(&policy, &waiting(1), &booting, seconds(late - 1)),
        []
    );
    let actions = decide(&policy, &waiting(1), &booting, seconds(late));
    let worker = InstanceId::new("i-000");
    assert_eq!(
        actions,
        [
            Action::Terminate {
                worker,
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
