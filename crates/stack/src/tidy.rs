//! What an `up` removes at its very end, when nobody needs it any more: workers of runners that
//! are gone, zones and NAT that are not wanted.

use std::time::Duration;

use onspot_netplan::NetworkPlan;
use onspot_reconcile::{EventSender, Patience, Plan, Step};
use tokio::time::Instant;

use crate::names::Names;
use crate::spec::Spec;
use crate::{Clients, Error, strays};

/// The pause between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// What was removed.
#[derive(Debug, Default)]
pub(crate) struct Tidied {
    /// The removals.
    pub(crate) plan: Plan,
    /// What a person should know of what is kept for the next `up`.
    pub(crate) notes: Vec<String>,
}

/// Removes what can be removed within `patience`.
pub(crate) async fn tidy(
    spec: &Spec,
    clients: &Clients,
    names: &Names,
    leftovers: &NetworkPlan,
    patience: Duration,
    events: &EventSender,
) -> Result<Tidied, Error> {
    let since = Instant::now();
    let mut tidied = strays::end(spec, clients, names, patience, events).await?;
    let left = patience.saturating_sub(since.elapsed());
    let network = remove(leftovers, clients, left, events).await?;
    tidied.plan.merge(network.plan);
    tidied.notes.extend(network.notes);
    Ok(tidied)
}

/// Removes parts of the network once no instance uses them.
async fn remove(
    leftovers: &NetworkPlan,
    clients: &Clients,
    patience: Duration,
    events: &EventSender,
) -> Result<Tidied, Error> {
    if leftovers.is_empty() {
        return Ok(Tidied::default());
    }
    let users = users(leftovers, clients, patience, events).await?;
    if !users.is_empty() {
        let note = format!(
            "the parts of the network that are no longer wanted stay until {} no longer use them: \
             run `onspot up` again later to remove them",
            users.join(", ")
        );
        return Ok(Tidied {
            notes: vec![note],
            ..Tidied::default()
        });
    }
    onspot_netplan::destroy(&clients.ec2, leftovers, events).await?;
    Ok(Tidied {
        plan: leftovers.plan(),
        ..Tidied::default()
    })
}

/// Waits until nobody uses them; whoever still does after `patience` is returned.
async fn users(
    leftovers: &NetworkPlan,
    clients: &Clients,
    patience: Duration,
    events: &EventSender,
) -> Result<Vec<String>, Error> {
    let look = async || onspot_netplan::users(&clients.ec2, leftovers).await;
    let first = look().await?;
    if first.is_empty() {
        return Ok(first);
    }
    let step = Step::start(events, "free what is left over of the network");
    step.waiting(format!("{} to end", first.join(", ")));
    let freed = async {
        let free = Patience::new(EVERY, patience)
            .until(async || look().await.map(|users| users.is_empty().then_some(())))
            .await?;
        match free {
            Some(()) => Ok(Vec::new()),
            None => look().await,
        }
    };
    match freed.await {
        Ok(left) => {
            step.done(None);
            Ok(left)
        }
        Err(error) => {
            step.failed(&error);
            Err(error.into())
        }
    }
}
