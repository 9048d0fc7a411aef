//! The state of a stack.

use std::collections::BTreeMap;

use onspot_fleet::{Instance, InstanceState, Lifecycle};
use onspot_ledger::{Overview, State};
use serde::Serialize;

use crate::names::Names;
use crate::resources::graph;
use crate::verbs::down::teardown_plan;
use crate::waits::hello::ledger;
use crate::{Clients, Error};

/// A stack at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Its name.
    pub stack: String,
    /// Its region.
    pub region: String,
    /// What it consists of; empty if there is no such stack.
    pub resources: Vec<ResourceStatus>,
    /// Its managers that have not ended, the newest first.
    pub managers: Vec<InstanceStatus>,
    /// Its workers that have not ended, the newest first.
    pub workers: Vec<InstanceStatus>,
    /// Who leads, and where the jobs are; `None` without a bucket.
    pub ledger: Option<Overview>,
}

/// A resource that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceStatus {
    /// Its kind in words, for example `launch template`.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// AWS's id, where it has one.
    pub id: Option<String>,
}

/// An instance that has not ended.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceStatus {
    /// EC2's id.
    pub id: String,
    /// The runner that it serves, for workers.
    pub runner: Option<String>,
    /// Its type.
    pub instance_type: String,
    /// Its availability zone.
    pub zone: String,
    /// How it is paid for.
    pub lifecycle: Lifecycle,
    /// What EC2 says.
    pub state: InstanceState,
    /// When it was launched.
    pub launched_at: jiff::Timestamp,
    /// The state that it reported, for workers that have reported.
    pub reported: Option<State>,
}

/// Observes the stack `stack` in the clients' region. A name is enough.
///
/// # Errors
///
/// [`Error::Name`] if `stack` is not allowed as a name; [`Error::Ledger`] if the ledger can't be
/// read; otherwise AWS's refusals.
pub async fn status(stack: &str, clients: &Clients) -> Result<Status, Error> {
    let names = Names::new(stack, clients.region())?;
    let observed = graph::observe(clients, &names).await?;
    let ledger = match observed.bucket {
        Some(_) => Some(overview(clients, &names).await?),
        None => None,
    };
    let states: BTreeMap<String, &State> = ledger
        .iter()
        .flat_map(|ledger| &ledger.states)
        .map(|(worker, state)| (worker.instance().to_owned(), state))
        .collect();
    let mut living: Vec<_> = observed
        .instances
        .iter()
        .filter(|instance| instance.state != InstanceState::Terminated)
        .collect();
    living.sort_by_key(|instance| std::cmp::Reverse(instance.launched_at));
    let of_role = |role: &str| {
        living
            .iter()
            .filter(|instance| instance.tags.role() == Some(role))
            .map(|instance| instance_status(instance, &states))
            .collect()
    };
    let resources = teardown_plan(clients, &names, &observed)
        .changes
        .into_iter()
        .filter(|change| change.resource != "instance")
        .map(|change| ResourceStatus {
            resource: change.resource,
            name: change.name,
            id: change.id,
        })
        .collect();
    Ok(Status {
        stack: stack.to_owned(),
        region: clients.region().to_owned(),
        resources,
        managers: of_role(onspot_fleet::group::MANAGER),
        workers: of_role(onspot_fleet::WORKER),
        ledger,
    })
}

async fn overview(clients: &Clients, names: &Names) -> Result<Overview, Error> {
    let ledger = ledger(clients, &names.bucket(clients.account()));
    onspot_ledger::overview(&ledger)
        .await
        .map_err(Error::Ledger)
}

fn instance_status(instance: &Instance, states: &BTreeMap<String, &State>) -> InstanceStatus {
    InstanceStatus {
        id: instance.id.to_string(),
        runner: instance.tags.runner().map(str::to_owned),
        instance_type: instance.pool.instance_type.clone(),
        zone: instance.pool.zone.clone(),
        lifecycle: instance.pool.lifecycle,
        state: instance.state,
        launched_at: instance.launched_at,
        reported: states.get(instance.id.as_str()).copied().cloned(),
    }
}
