//! Workers whose runner no longer exists. No manager looks after them, so they would run and be
//! billed for ever.

use std::collections::BTreeSet;

use crate::{Instance, InstanceState, WORKER};

/// The workers among `instances` whose runner is none of `runners`. Pure.
pub fn strays(runners: &BTreeSet<&str>, instances: &[Instance]) -> Vec<Instance> {
    let billed = |state: InstanceState| {
        !matches!(
            state,
            InstanceState::ShuttingDown | InstanceState::Terminated
        )
    };
    let workers = instances
        .iter()
        .filter(|instance| instance.tags.role() == Some(WORKER) && billed(instance.state));
    workers
        .filter(|instance| {
            let runner = instance.tags.runner();
            runner.is_none_or(|name| !runners.contains(name))
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onspot_reconcile::Tags;

    use super::*;
    use crate::{InstanceId, Lifecycle, Pool};

    fn worker(id: &str, runner: &str, state: InstanceState) -> Instance {
        Instance {
            id: InstanceId::new(id),
            pool: Pool {
                instance_type: "m6i.large".to_owned(),
                zone: "eu-west-1a".to_owned(),
                lifecycle: Lifecycle::Spot,
            },
            state,
            launched_at: Timestamp::UNIX_EPOCH,
            reason: None,
            private_ip: None,
            tags: Tags::of_stack("ci").with_role(WORKER).with_runner(runner),
            outdated: false,
        }
    }

    #[test]
    fn a_renamed_runner_leaves_strays_and_a_kept_one_none() {
        let all = [
            worker("i-kept", "a", InstanceState::Running),
            worker("i-old", "b", InstanceState::Running),
            worker("i-going", "b", InstanceState::ShuttingDown),
            Instance {
                tags: Tags::of_stack("ci").with_role("manager"),
                ..worker("i-manager", "b", InstanceState::Running)
            },
            Instance {
                tags: Tags::of_stack("ci").with_role(WORKER),
                ..worker("i-nobodys", "b", InstanceState::Stopped)
            },
        ];
        let strays = strays(&BTreeSet::from(["a"]), &all);
        let ids: Vec<_> = strays.iter().map(|stray| stray.id.as_str()).collect();
        assert_eq!(ids, ["i-old", "i-nobodys"]);
    }
}
