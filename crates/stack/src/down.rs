//! Removes a stack. The name and the region are enough: everything is found by tags and derived
//! names, so it goes on where an earlier run stopped, and needs no file.

use onspot_fleet::{group, template};
use onspot_reconcile::{EventSender, Plan};

use crate::graph::{self, Foundation, Observed};
use crate::names::Names;
use crate::{Clients, Error};

/// What [`down`] would remove.
pub async fn plan_down(stack: &str, clients: &Clients) -> Result<Plan, Error> {
    let names = Names::new(stack, clients.region())?;
    let observed = graph::observe(clients, &names).await?;
    Ok(teardown_plan(clients, &names, &observed))
}

/// Removes all that carries the stack's name, and says what that was. Jobs that run are lost;
/// the cache and the logs too.
///
/// First the managers, so that nobody launches workers any more; then the workers; then what
/// they were made from and stood on.
pub async fn down(stack: &str, clients: &Clients, events: &EventSender) -> Result<Plan, Error> {
    let names = Names::new(stack, clients.region())?;
    let observed = graph::observe(clients, &names).await?;
    let plan = teardown_plan(clients, &names, &observed);
    let group = group::teardown(&graph::group_to_end(&names), observed.group.as_ref());
    group::destroy(&clients.autoscaling, &clients.ec2, &group, events).await?;
    onspot_fleet::terminate_all(&clients.ec2, names.stack(), events).await?;
    let templates = template::teardown(&observed.templates);
    template::apply(&clients.ec2, &templates, events).await?;
    // Workers wrote to the bucket until their end: only now it stays empty.
    Foundation::teardown(clients, &names, &observed)
        .destroy(clients, events)
        .await?;
    Ok(plan)
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
