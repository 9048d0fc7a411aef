//! What `up` removes at its very end, when nothing uses it any more: workers of removed runners,
//! and zones and NAT that are not wanted any more.

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
    /// Notes for people about what is left for the next `up`.
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
