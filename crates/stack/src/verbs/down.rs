//! Removes a stack. The name and the region are enough, because everything is found by tags and
//! derived names. So it needs no file and continues where an earlier run stopped.

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

/// Ends the jobs of a stack that is being removed and tells GitLab, so that no job stays "running"
/// there. Called once managers and workers are terminated, while the ledger still exists.
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
    /// Notes for people: the jobs that GitLab could not be told about.
    pub notes: Vec<String>,
}

/// What [`down`] would remove.
///
/// # Errors
///
/// [`Error::Name`] if `stack` is not allowed as a name; otherwise AWS's refusals.
pub async fn plan_down(stack: &str, clients: &Clients) -> Result<Plan, Error> {
    let names = Names::new(stack, clients.region())?;
    let observed = graph::observe(clients, &names).await?;
    Ok(teardown_plan(clients, &names, &observed))
}

/// Removes all resources of the stack, including the cache and the logs, and returns what they
/// were. `jobs` ends the jobs that wait or run. If somebody else is changing the stack, `down`
/// waits at most `patience` for them.
///
/// The managers go first, so that nobody launches workers any more; then the workers and their
/// jobs; then the launch templates, the network and the other layers; last the bucket with the
/// ledger.
///
/// # Errors
///
/// [`Error::Name`] if `stack` is not allowed as a name, [`Error::Locked`] if somebody else is still
/// changing the stack after `patience`, [`Error::LockLost`] if somebody else takes the lock;
/// otherwise AWS's refusals. Run again, it continues from there.
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
    if !bucket::exists(&clients.s3, &spec).await? {
        // Without a bucket there is no lock and no job.
        return Box::pin(teardown.all_but_the_bucket()).await;
    }
    let store = lock::store(clients, &spec.name);
    let mut held = lock::take(store, Holder::new("down"), patience, events).await?;
    let work = Box::pin(teardown.all_but_the_bucket());
    let removed = held.keep_during(work).await;
    let removed = match removed {
        // Releases the lock, so that the next run need not wait.
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

/// One stack that is being removed.
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
        // A manager may have launched workers in its last moment, which EC2 lists only now. From
        // here on there is neither a manager nor a launch template to launch any.
        onspot_fleet::terminate_all(&clients.ec2, names.stack(), events).await?;
        Foundation::teardown(clients, names, &observed)
            .destroy_all_but_the_bucket(clients, events)
            .await?;
        Ok(Removed { plan, notes })
    }

    /// Ends the jobs that are not over and tells GitLab; returns the jobs that GitLab could not be
    /// told about, for people.
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
