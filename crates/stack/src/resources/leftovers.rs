//! What an `up` removes at its very end, when nobody needs it any more: workers of runners that
//! are gone, zones and NAT that are not wanted.

use std::time::Duration;

use onspot_netplan::NetworkPlan;
use onspot_reconcile::{EventSender, Plan};
use tokio::time::Instant;

use crate::names::Names;
use crate::spec::Spec;
use crate::{Clients, Error};

mod network;
mod workers;

pub(crate) use workers::without_runner;

/// What was removed.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    /// The removals.
    pub(crate) plan: Plan,
    /// What a person should know of what is kept for the next `up`.
    pub(crate) notes: Vec<String>,
}

/// Removes what can be removed within `patience`.
pub(crate) async fn remove(
    spec: &Spec,
    clients: &Clients,
    names: &Names,
    leftovers: &NetworkPlan,
    patience: Duration,
    events: &EventSender,
) -> Result<Removal, Error> {
    let since = Instant::now();
    let mut removal = workers::remove(spec, clients, names, patience, events).await?;
    let left = patience.saturating_sub(since.elapsed());
    let network = network::remove(leftovers, clients, left, events).await?;
    removal.plan.merge(network.plan);
    removal.notes.extend(network.notes);
    Ok(removal)
}
