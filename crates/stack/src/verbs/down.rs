//! Removes a stack. The name and the region are enough: everything is found by tags and derived
//! names, so it goes on where an earlier run stopped, and needs no file.

use std::time::Duration;

use futures::future::BoxFuture;
use onspot_cache::bucket;
use onspot_fleet::{group, template};
use onspot_ledger::Ledger;
use onspot_reconcile::{EventSender, Plan, Step};

use crate::names::Names;
use crate::resources::graph::{self, Foundation, Observed};
use crate::waits::hello;
use crate::waits::lock::{self, Holder};
use crate::{Clients, Error};

/// Ends the jobs of a stack that is removed, and tells GitLab, so that no job stays "running" there.
/// Called when managers and workers are terminated and the ledger still exists.
pub trait JobsEnd: Send + Sync {
    /// Ends every job that is not over.
    fn end<'a>(
        &'a self,
        ledger: &'a dyn Ledger,
    ) -> BoxFuture<'a, Result<JobsEnded, onspot_ledger::Error>>;
}

/// What became of a stack's jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobsEnded {
    /// How many jobs GitLab was told about.
    pub told: usize,
    /// The jobs that it could not be told about and why, for people.
    pub untold: Vec<String>,
}

/// What was removed.
#[derive(Debug, Default)]
pub struct Removed {
    /// The removals.
    pub plan: Plan,
    /// What a person should know beside that: the jobs that GitLab could not be told about.
    pub notes: Vec<String>,
}

/// What [`down`] would remove.
pub async fn plan_down(stack: &str, clients: &Clients) -> Result<Plan, Error> {
    let names = Names::new(stack, clients.region())?;
    let observed = graph::observe(clients, &names).await?;
    Ok(teardown_plan(clients, &names, &observed))
}

/// Removes all that carries the stack's name, and says what that was; the cache and the logs too.
/// Jobs that wait or run end by `jobs`. Somebody else who is changing the stack is waited for, for at
/// most `patience`.
///
/// First the managers, so that nobody launches workers any more; then the workers, and the jobs
/// that they leave; then what they were made from and stood on; last the bucket with the ledger.
pub async fn down(
    stack: &str,
    clients: &Clients,
    jobs: &dyn JobsEnd,
    patience: Duration,
    events: &EventSender,
) -> Result<Removed, Error> {
    let names = Names::new(stack, clients.region())?;
    let teardown = Teardown {
        names: &names,
        clients,
        jobs,
        events,
    };
    let spec = graph::bucket_spec(clients, &names);
    if bucket::observe(&clients.s3, &spec).await?.is_none() {
        // No bucket, no lock, and no job.
        return Box::pin(teardown.all_but_the_bucket()).await;
    }
    let store = lock::store(clients, &spec.name);
    let mut held = lock::take(store, Holder::new("down"), patience, events).await?;
    let work = Box::pin(teardown.all_but_the_bucket());
    let removed = held.keep_during(work).await;
    let removed = match removed {
        // For the next one, who need not wait then.
        Err(error) => return held.during(async { Err(error) }).await,
        Ok(removed) => removed,
    };
    // The lock goes with its bucket.
    let bucket = bucket::observe(&clients.s3, &spec).await?;
    let bucket = bucket::teardown(&spec, bucket.as_ref());
    bucket::destroy(&clients.s3, &bucket, events).await?;
    Ok(removed)
}

/// All that is there, as a plan to remove it.
pub(crate) fn teardown_plan(clients: &Clients, names: &Names, observed: &Observed) -> Plan {
    let group = group::teardown(&graph::group_to_end(names), observed.group.as_ref());
    let mut plan = group.plan();
    plan.merge(onspot_fleet::termination_plan(&observed.instances));
    plan.merge(template::teardown(&observed.templates).plan());
    plan.merge(Foundation::teardown(clients, names, observed).plan());
    plan
}

/// One stack that goes.
struct Teardown<'a> {
    names: &'a Names,
    clients: &'a Clients,
    jobs: &'a dyn JobsEnd,
    events: &'a EventSender,
}

impl Teardown<'_> {
    async fn all_but_the_bucket(&self) -> Result<Removed, Error> {
        let Self {
            names,
            clients,
            events,
            ..
        } = *self;
        let observed = graph::observe(clients, names).await?;
        let plan = teardown_plan(clients, names, &observed);
        let group = group::teardown(&graph::group_to_end(names), observed.group.as_ref());
        group::destroy(&clients.autoscaling, &clients.ec2, &group, events).await?;
        onspot_fleet::terminate_all(&clients.ec2, names.stack(), events).await?;
        let templates = template::teardown(&observed.templates);
        template::apply(&clients.ec2, &templates, events).await?;
        let notes = if observed.bucket.is_some() {
            Box::pin(self.settle_jobs()).await?
        } else {
            Vec::new()
        };
        // A manager may have bought workers in its last moment, which EC2 lists only now. From
        // here on there is nobody and nothing to launch any from.
        onspot_fleet::terminate_all(&clients.ec2, names.stack(), events).await?;
        Foundation::teardown(clients, names, &observed)
            .destroy_all_but_the_bucket(clients, events)
            .await?;
        Ok(Removed { plan, notes })
    }

    /// Ends the jobs that are not over, and tells GitLab; what could not be told, for people.
    async fn settle_jobs(&self) -> Result<Vec<String>, Error> {
        let bucket = self.names.bucket(self.clients.account());
        let ledger = hello::ledger(self.clients, &bucket);
        let step = Step::start(self.events, "end of all jobs in GitLab");
        match self.jobs.end(&ledger).await {
            Ok(JobsEnded { told, untold }) => {
                step.done((told > 0).then(|| format!("{told} jobs")).as_deref());
                let untold = untold.into_iter();
                Ok(untold
                    .map(|untold| format!("GitLab was not told about the end of {untold}"))
                    .collect())
            }
            Err(error) => {
                let error = Error::Ledger(error);
                step.failed(&error);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
