//! Removes a stack. The name and the region are enough: everything is found by tags and derived
//! names, so it goes on where an earlier run stopped, and needs no file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onspot_cache::bucket;
use onspot_fleet::{group, template};
use onspot_gitlab::{Client as GitLab, JobPayload, Variables};
use onspot_ledger::{ManagerId, RunnerName};
use onspot_reconcile::{EventSender, Plan, Step};
use onspot_runner::Clock;
use onspot_runner::coordinator::{Coordinator, GitLabJobs};
use onspot_runner::leader::Settling;
use url::Url;

use crate::names::Names;
use crate::resources::graph::{self, Foundation, Observed};
use crate::waits::hello;
use crate::waits::lock::{self, Holder};
use crate::{Clients, Error};

/// What a job's trace says when its stack goes.
const WHY: &str = "its stack was taken down by `onspot down`";

/// How to take a stack down.
#[derive(Debug, Clone)]
pub struct DownOptions {
    /// The address of GitLab by runner, as seen from here; the one that a job names itself is
    /// taken for others.
    pub gitlabs: BTreeMap<String, Url>,
    /// How long GitLab may take to be told about all jobs together.
    pub telling: Duration,
    /// How long to wait for somebody else who is changing the stack.
    pub patience: Duration,
}

impl Default for DownOptions {
    fn default() -> Self {
        Self {
            gitlabs: BTreeMap::new(),
            telling: Duration::from_mins(1),
            patience: Duration::from_mins(10),
        }
    }
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
/// Jobs that wait or run end, and GitLab is told.
///
/// First the managers, so that nobody launches workers any more; then the workers, and the jobs
/// that they leave; then what they were made from and stood on; last the bucket with the ledger.
pub async fn down(
    stack: &str,
    clients: &Clients,
    options: &DownOptions,
    events: &EventSender,
) -> Result<Removed, Error> {
    let names = Names::new(stack, clients.region())?;
    let teardown = Teardown {
        names: &names,
        clients,
        options,
        events,
    };
    let spec = graph::bucket_spec(clients, &names);
    if bucket::observe(&clients.s3, &spec).await?.is_none() {
        // No bucket, no lock, and no job.
        return Box::pin(teardown.all_but_the_bucket()).await;
    }
    let store = lock::store(clients, &spec.name);
    let mut held = lock::take(store, Holder::new("down"), options.patience, events).await?;
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
    options: &'a DownOptions,
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
        let settling = Settling {
            ledger: &ledger,
            clock: Clock::system(),
            me: ManagerId::random("down"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            why: WHY.to_owned(),
            limit: self.options.telling,
        };
        let coordinators =
            |runner: &RunnerName, job: &JobPayload| coordinator(&self.options.gitlabs, runner, job);
        match settling.settle(&coordinators).await {
            Ok(settled) => {
                let count = settled.told.len();
                step.done((count > 0).then(|| format!("{count} jobs")).as_deref());
                let untold = settled.untold.iter();
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

/// Whom to tell about a job: the runner's GitLab as it is reached from here, or else by the
/// address that GitLab itself gave the job.
fn coordinator(
    known: &BTreeMap<String, Url>,
    runner: &RunnerName,
    job: &JobPayload,
) -> Option<Arc<dyn Coordinator>> {
    let own = || {
        let url = Variables::of(job).get("CI_SERVER_URL")?.to_owned();
        Url::parse(&url).ok()
    };
    let url = known.get(runner.as_str()).cloned().or_else(own)?;
    let client = GitLab::new(&url).ok()?;
    Some(Arc::new(GitLabJobs::new(client, None)))
}

#[cfg(test)]
mod tests;
