//! Workers whose runner is no longer in the file. No manager looks after them any more, so they
//! would run and be billed until `down`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use onspot_fleet::{Instance, InstanceId, WORKER, instances};
use onspot_ledger::{Ledger, Overview, Watched, WorkerId};
use onspot_reconcile::{EventSender, Step};
use tokio::time::{Instant, sleep};

use super::Removal;
use crate::names::Names;
use crate::spec::Spec;
use crate::waits::hello;
use crate::{Clients, Error};

/// The pause between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// The workers among `instances` whose runner `spec` does not have. Pure.
pub(crate) fn without_runner(spec: &Spec, instances: &[Instance]) -> Vec<Instance> {
    let known: BTreeSet<&str> = spec.runners.iter().map(|r| r.name.as_str()).collect();
    onspot_fleet::strays(&known, instances)
}

/// Terminates strays as soon as their jobs are over, and waits at most `patience` for that.
///
/// Call this only once the leading manager no longer knows their runners: from then on nobody gives
/// them jobs, and the jobs that they have need no manager. No job is cut off: workers that are
/// still busy are left for the next `up`.
pub(super) async fn remove(
    spec: &Spec,
    clients: &Clients,
    names: &Names,
    patience: Duration,
    events: &EventSender,
) -> Result<Removal, Error> {
    let left = find(spec, clients, names).await?;
    if left.is_empty() {
        return Ok(Removal::default());
    }
    let what = format!("drain {} workers without runner", left.len());
    let step = Step::start(events, what);
    step.waiting("their jobs to end");
    let ledger = hello::ledger(clients, &names.bucket(clients.account()));
    let watch = Watch::new(spec.timing.takeover);
    match drain(&ledger, clients, left, watch, patience).await {
        Ok(removal) => {
            step.done(None);
            Ok(removal)
        }
        Err(error) => {
            step.failed(&error);
            Err(error)
        }
    }
}

async fn drain(
    ledger: &dyn Ledger,
    clients: &Clients,
    mut left: Vec<Instance>,
    mut watch: Watch,
    patience: Duration,
) -> Result<Removal, Error> {
    let limit = Instant::now() + patience;
    let mut removal = Removal::default();
    loop {
        let seen = onspot_ledger::overview(ledger)
            .await
            .map_err(Error::Ledger)?;
        let (busy, idle): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|instance| watch.is_busy(instance, &seen));
        let ids: Vec<InstanceId> = idle.iter().map(|instance| instance.id.clone()).collect();
        onspot_fleet::terminate(&clients.ec2, &ids).await?;
        removal.plan.merge(onspot_fleet::termination_plan(&idle));
        left = busy;
        if left.is_empty() || Instant::now() + EVERY > limit {
            removal.notes = left.iter().map(kept).collect();
            return Ok(removal);
        }
        sleep(EVERY).await;
    }
}

async fn find(spec: &Spec, clients: &Clients, names: &Names) -> Result<Vec<Instance>, Error> {
    let workers = instances(&clients.ec2, names.stack(), Some(WORKER)).await?;
    Ok(without_runner(spec, &workers))
}

fn kept(instance: &Instance) -> String {
    format!(
        "worker {} still runs jobs of a runner that is gone: run `onspot up` again later to end it",
        instance.id
    )
}

/// Finds out over several looks which workers have jobs.
struct Watch {
    since: Instant,
    /// After this much silence a worker has lost its lease, and its jobs belong to others.
    takeover: Duration,
    counters: BTreeMap<InstanceId, Watched<u64>>,
}

impl Watch {
    fn new(takeover: Duration) -> Self {
        Self {
            since: Instant::now(),
            takeover,
            counters: BTreeMap::new(),
        }
    }

    /// Whether a job may still be running on the worker or on its way there.
    fn is_busy(&mut self, instance: &Instance, seen: &Overview) -> bool {
        let of_instance = |worker: &WorkerId| worker.instance() == instance.id.as_str();
        let state = seen
            .states
            .iter()
            .find_map(|(worker, state)| of_instance(worker).then_some(state));
        let watched = self.counters.entry(instance.id.clone()).or_default();
        let counter = state.map_or(0, |state| state.counter);
        if watched.silent_for(counter, self.since.elapsed()) > self.takeover {
            return false;
        }
        let records = seen.records.iter().filter_map(|(job, record)| {
            let id = job.rsplit('/').next()?;
            Some((id.parse().ok()?, record))
        });
        onspot_ledger::has_work(instance.id.as_str(), &seen.states, records)
    }
}

#[cfg(test)]
mod tests;
