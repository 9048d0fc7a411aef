//! Workers that were launched but never reported: reads their consoles and decides when to stop
//! launching.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use onspot_fleet::{Instance, InstanceId};
use onspot_ledger::WorkerId;

use super::{Fleet, Known, chain};

/// How much of a console is kept, in lines.
const TAIL: usize = 10;

/// How often to check for a new launch template while launches are stopped because of the current
/// one.
const LOOK_AT_TEMPLATE: Duration = Duration::from_secs(30);

/// State reasons that do not point to a bad image or boot script: EC2 interrupted the spot
/// instance, or a person ended the instance.
const OTHER_ENDS: &[&str] = &[
    "Client.UserInitiatedShutdown",
    "Server.InsufficientInstanceCapacity",
    "Server.ScheduledStop",
    "Server.SpotInstanceShutdown",
    "Server.SpotInstanceTermination",
];

impl Known {
    /// Whether a worker that was to be terminated has reported by now, in which case it is kept.
    fn reports_after_all(&mut self, instance: &InstanceId) -> bool {
        let worker = self.worker(instance);
        let reported = self.reported.as_ref();
        let reports = self.instances.contains_key(&worker)
            && reported.is_some_and(|reported| reported.contains(&worker));
        if reports {
            self.terminated.remove(instance);
        }
        reports
    }
}

impl Fleet {
    /// Records which workers have ever reported.
    pub(crate) fn reported(&self, workers: Arc<BTreeSet<WorkerId>>) {
        let mut known = self.known();
        let launches: Vec<_> = workers
            .iter()
            .filter_map(|worker| known.instances.get(worker))
            .map(|instance| instance.launched_at)
            .collect();
        for launched_at in launches {
            known.boots.note_reported(launched_at);
        }
        known.reported = Some(workers);
    }

    /// Terminates an instance whose worker did not report in time, after reading its console.
    pub(crate) fn never_reported(self: &Arc<Self>, instance: InstanceId, why: &str) {
        let counts = {
            let mut known = self.known();
            if !known.is_new_end(&instance, self.clock.steady()) {
                return;
            }
            let found = known.instances.get(&known.worker(&instance));
            let launched_at = found.map_or_else(|| self.clock.now(), |found| found.launched_at);
            let now = self.clock.now();
            known.boots.note_lost(&instance, launched_at, now)
        };
        tracing::warn!(runner = %self.runner, worker = %instance, why, "terminating");
        let fleet = Arc::clone(self);
        tokio::spawn(async move {
            if counts {
                fleet.read_console(&instance).await;
            }
            // Reading takes time, and a worker that has reported meanwhile may have a job.
            if fleet.known().reports_after_all(&instance) {
                tracing::info!(runner = %fleet.runner, worker = %instance, "it reports after all");
                return;
            }
            fleet.end(instance);
        });
    }

    /// Examines instances that ended before their workers ever reported.
    pub(super) async fn look_into(&self, ended: Vec<Instance>) {
        for ended in ended {
            let now = self.clock.now();
            let (instance, launched_at) = (&ended.id, ended.launched_at);
            if self.known().boots.note_lost(instance, launched_at, now) {
                let reason = ended.reason.as_deref().unwrap_or("no reason given");
                tracing::warn!(runner = %self.runner, worker = %instance, reason,
                    "it ended before it ever reported");
                self.read_console(instance).await;
            }
        }
    }

    async fn read_console(&self, instance: &InstanceId) {
        let console = match self.capacity.console(instance.clone()).await {
            Ok(console) => console.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(worker = %instance, error = %chain(&error), "no console");
                String::new()
            }
        };
        let tail = onspot_fleet::tail(&console, TAIL);
        for line in &tail {
            tracing::warn!(runner = %self.runner, worker = %instance, line, "console");
        }
        self.known().boots.note_console(instance, tail);
        self.wake.notify_one();
    }

    /// Checks for a new launch template while launches are stopped or doubtful.
    pub(super) async fn look_at_template(&self) {
        let steady = self.clock.steady();
        {
            let mut known = self.known();
            let matters =
                known.boots.are_doubtful() || known.pools.is_misconfigured(self.clock.now());
            let last = known.template_looked_at;
            let due = last.is_none_or(|last| steady.saturating_sub(last) >= LOOK_AT_TEMPLATE);
            if !matters || !due {
                return;
            }
            known.template_looked_at = Some(steady);
        }
        match self.capacity.template_version().await {
            Ok(version) => self.take_in_template(version),
            Err(error) => {
                tracing::warn!(runner = %self.runner, error = %chain(&error),
                    "the launch template could not be looked at");
            }
        }
    }

    fn take_in_template(&self, version: Option<i64>) {
        let mut known = self.known();
        let before = std::mem::replace(&mut known.template, version);
        if before.is_some() && before != version {
            tracing::info!(runner = %self.runner, ?version,
                "workers are made from a new version of the launch template: launching again");
            known.boots.note_new_configuration();
            known.pools.note_new_configuration();
            drop(known);
            self.wake.notify_one();
        }
    }
}

impl Known {
    /// The instances that lived at the last look, have ended by themselves since, and never
    /// reported.
    pub(super) fn ended_unheard(
        &self,
        listed: &BTreeMap<WorkerId, Instance>,
        found: &[(WorkerId, Option<Instance>)],
    ) -> Vec<Instance> {
        let Some(reported) = &self.reported else {
            return Vec::new();
        };
        let found = found
            .iter()
            .filter_map(|(worker, instance)| Some((worker, instance.as_ref()?)));
        let ended = listed.iter().chain(found).filter(|(worker, instance)| {
            let before = self.instances.get(*worker);
            let reason = instance.reason.as_deref();
            !instance.state.is_live()
                && before.is_some_and(|before| before.state.is_live())
                && !reported.contains(*worker)
                && !self.terminated.contains_key(&instance.id)
                && !reason.is_some_and(|reason| OTHER_ENDS.contains(&reason))
        });
        ended.map(|(_, instance)| instance.clone()).collect()
    }
}
