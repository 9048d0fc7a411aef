//! The parts of the network that are no longer wanted.

use std::time::Duration;

use onspot_netplan::NetworkPlan;
use onspot_reconcile::{EventSender, Patience, Step};

use super::Removal;
use crate::{Clients, Error};

/// The pause between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Removes parts of the network once no instance uses them.
pub(super) async fn remove(
    leftovers: &NetworkPlan,
    clients: &Clients,
    patience: Duration,
    events: &EventSender,
) -> Result<Removal, Error> {
    if leftovers.is_empty() {
        return Ok(Removal::default());
    }
    let users = users(leftovers, clients, patience, events).await?;
    if !users.is_empty() {
        let note = format!(
            "the parts of the network that are no longer wanted stay until {} no longer use them: \
             run `onspot up` again later to remove them",
            users.join(", ")
        );
        return Ok(Removal {
            notes: vec![note],
            ..Removal::default()
        });
    }
    onspot_netplan::destroy(&clients.ec2, leftovers, events).await?;
    Ok(Removal {
        plan: leftovers.plan(),
        ..Removal::default()
    })
}

/// Waits until no instance uses them; returns the instances that still do after `patience`.
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
