//! Properties of every plan.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn any_stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        Just(Stage::Launching),
        Just(Stage::Booting),
        (0..3u32, 0..3u32).prop_map(|(free, jobs)| ready(free, jobs)),
        (900..1000i64).prop_map(idle_since),
        (0..3u32, any::<bool>(), any::<bool>()).prop_map(|(jobs, losing, done)| Stage::Leaving {
            jobs,
            losing,
            done
        }),
    ]
}

fn any_job() -> impl Strategy<Value = JobView> {
    let place = prop_oneof![
        4 => Just(Place::Waiting),
        1 => Just(Place::With(WorkerId::of("AROA", "w0"))),
        1 => Just(Place::Ending),
    ];
    (800..1000i64, 950..2000i64, 1..4u32, place).prop_map(|(received, deadline, attempt, place)| {
        JobView {
            received_at: at(received),
            deadline: at(deadline),
            attempt,
            place,
            ..job(0)
        }
    })
}

prop_compose! {
    fn any_runner()(
        stages in prop::collection::vec((any_stage(), any::<bool>(), 0..5u32), 0..6),
        mut jobs in prop::collection::vec(any_job(), 0..8),
        observed in prop::bool::weighted(0.9),
        max_uses in 0..5u32,
        limit in 0..6u32,
    ) -> RunnerView {
        for (id, job) in (1..).zip(&mut jobs) {
            job.id = id;
        }
        let workers = stages.into_iter().enumerate().map(|(number, (stage, safe, uses))| {
            let mut worker = worker(&format!("w{number}"), stage);
            worker.uses = uses;
            if safe { on_demand(worker) } else { worker }
        });
        let mut runner = runner(workers.collect(), jobs);
        runner.observed = observed;
        let policy = runner.policy.as_mut().unwrap();
        (policy.max_uses, policy.limit) = (max_uses, limit);
        runner
    }
}

proptest! {
    #[test]
    fn each_waiting_job_gets_one_answer(runner in any_runner()) {
        let mut answers: BTreeMap<u64, u32> = BTreeMap::new();
        for action in plan(&runner) {
            if let Action::Assign { job, .. } | Action::Fail { job, .. } | Action::Explain { job, .. } = action {
                *answers.entry(job.id).or_default() += 1;
            }
        }
        for job in &runner.jobs {
            let expected = u32::from(job.place == Place::Waiting);
            prop_assert_eq!(answers.get(&job.id).copied().unwrap_or_default(), expected);
        }
    }

    #[test]
    fn there_are_never_more_workers_than_the_limit(runner in any_runner()) {
        let launched: u32 = plan(&runner).iter().map(|action| match action {
            Action::Scale { scale: Scale::Launch { count, .. }, .. } => *count,
            _ => 0,
        }).sum();
        let there = u32::try_from(runner.fleet.workers.len()).unwrap();
        let limit = runner.policy.as_ref().unwrap().limit;
        prop_assert!(launched == 0 || there + launched <= limit);
    }

    #[test]
    fn no_worker_gets_more_than_it_has_slots_for(runner in any_runner()) {
        let mut given: BTreeMap<String, u32> = BTreeMap::new();
        for (_, worker) in assigned(&runner) {
            *given.entry(worker).or_default() += 1;
        }
        for worker in &runner.fleet.workers {
            let free = match worker.stage {
                Stage::Ready { free, .. } => free,
                _ => 0,
            };
            prop_assert!(given.get(worker.id.instance()).copied().unwrap_or_default() <= free);
        }
    }
}
