//! The policy against a simulated cloud: the state after many decisions.

use proptest::prelude::*;

use super::{Action, START, View, any_policy, drained_with, is_idle, launched, waiting, worker};
use crate::Pool;
use crate::policy::decide::*;

const TICK: SignedDuration = SignedDuration::from_secs(5);

/// Instances that boot in two ticks and run the jobs that they are given.
#[derive(Debug)]
struct Cloud {
    policy: Policy,
    view: View,
    now: Timestamp,
    next: u32,
}

impl Cloud {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            view: View::default(),
            now: START,
            next: 0,
        }
    }

    /// One decision and its effects.
    fn tick(&mut self, demand: &Demand) {
        let actions = decide(&self.policy, demand, &self.view, self.now);
        for action in &actions {
            match action {
                Action::Launch { count, lifecycle } => {
                    for _ in 0..*count {
                        self.next += 1;
                        let launching = worker(self.next, Stage::Launching);
                        self.view.workers.push(Worker {
                            launched_at: self.now,
                            pool: Pool::unknown(*lifecycle),
                            ..launching
                        });
                    }
                }
                Action::Drain { worker } => {
                    let mut workers = self.view.workers.iter_mut();
                    let drained = workers.find(|known| known.id == *worker).unwrap();
                    drained.stage = drained_with(0);
                }
                Action::Terminate { worker, .. } => {
                    self.view.workers.retain(|known| known.id != *worker);
                }
            }
        }
        let launches = |actions: &[Action]| {
            launched(actions, Lifecycle::Spot) + launched(actions, Lifecycle::OnDemand)
        };
        let terminated = |action: &Action| matches!(action, Action::Terminate { .. });
        if launches(&actions) > 0 && !actions.iter().any(terminated) {
            let again = decide(&self.policy, demand, &self.view, self.now);
            assert_eq!(
                launches(&again),
                0,
                "launched twice: {actions:?}, {again:?}"
            );
        }
        self.now += TICK;
        for worker in &mut self.view.workers {
            worker.stage = match worker.stage {
                Stage::Launching => Stage::Booting,
                Stage::Booting => Stage::Ready {
                    free: self.policy.capacity_per_instance,
                    jobs: 0,
                    idle_since: Some(self.now),
                },
                other => other,
            };
        }
    }

    fn idle(&self) -> usize {
        self.view
            .workers
            .iter()
            .filter(|worker| is_idle(worker))
            .count()
    }
}

proptest! {
    #[test]
    fn the_idle_count_is_reached_and_kept(policy in any_policy()) {
        let policy = Policy { idle_scale_factor: 0.0, max_uses: 0, ..policy };
        let wanted = policy.idle_count.min(policy.limit) as usize;
        let mut cloud = Cloud::new(policy);
        for _ in 0..100 {
            cloud.tick(&Demand::default());
        }
        prop_assert_eq!(cloud.idle(), wanted);
        prop_assert_eq!(cloud.view.workers.len(), wanted);
    }

    #[test]
    fn waiting_jobs_get_places_up_to_the_limit(policy in any_policy(), jobs in 0_u32..30) {
        let policy = Policy { idle_scale_factor: 0.0, idle_count: 0, max_uses: 0, ..policy };
        let capacity = policy.capacity_per_instance;
        let wanted = jobs.div_ceil(capacity).min(policy.limit) as usize;
        let mut cloud = Cloud::new(policy);
        for _ in 0..60 {
            cloud.tick(&waiting(jobs));
        }
        prop_assert_eq!(cloud.view.workers.len(), wanted);
    }

    #[test]
    fn without_demand_nothing_is_left_after_the_idle_time(
        policy in any_policy(), jobs in 0_u32..20
    ) {
        let policy = Policy { idle_count: 0, idle_scale_factor: 0.0, ..policy };
        let idle_time = policy.idle_time;
        let mut cloud = Cloud::new(policy);
        for _ in 0..20 {
            cloud.tick(&waiting(jobs));
        }
        let ticks = idle_time.as_secs() / 5 + 5;
        for _ in 0..ticks {
            cloud.tick(&Demand::default());
        }
        prop_assert!(cloud.view.workers.is_empty(), "left: {:?}", cloud.view.workers);
    }
}
