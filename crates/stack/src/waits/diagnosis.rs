//! Diagnoses from outside why a manager does not report: by Auto Scaling's activities, EC2's states
//! and the end of the console.

use onspot_fleet::group::MANAGER;
use onspot_fleet::{Instance, InstanceState};

use crate::Clients;
use crate::names::Names;

/// How much of a console is shown, in lines.
const TAIL: usize = 20;
/// How many of Auto Scaling's latest activities are looked at.
const ACTIVITIES: i32 = 5;

/// What is known about the managers, one line each. Calls that fail are left out, because this only
/// accompanies another error.
pub(crate) async fn of_managers(clients: &Clients, names: &Names) -> Vec<String> {
    let mut lines = failed_activities(clients, &names.manager()).await;
    let found = onspot_fleet::instances(&clients.ec2, names.stack(), Some(MANAGER)).await;
    let mut managers = found.unwrap_or_default();
    managers.sort_by_key(|manager| std::cmp::Reverse(manager.launched_at));
    if managers.is_empty() {
        lines.push("no manager was launched".to_owned());
    }
    for manager in managers.iter().take(2) {
        lines.push(state_of(manager));
    }
    if let Some(newest) = managers.first() {
        let console = onspot_fleet::console(&clients.ec2, &newest.id).await;
        let console = console.ok().flatten().unwrap_or_default();
        match onspot_fleet::tail(&console, TAIL) {
            tail if tail.is_empty() => lines.push("its console is empty so far".to_owned()),
            tail => {
                lines.push(format!("the end of the console of {}:", newest.id));
                lines.extend(tail.into_iter().map(|line| format!("  {line}")));
            }
        }
    }
    lines
}

fn state_of(manager: &Instance) -> String {
    let id = &manager.id;
    let why = manager
        .reason
        .as_deref()
        .map_or(String::new(), |why| format!(": {why}"));
    match manager.state {
        InstanceState::Running => format!("manager {id} runs, but has not reported"),
        state => format!(
            "manager {id} is {}{why}",
            format!("{state:?}").to_lowercase()
        ),
    }
}

async fn failed_activities(clients: &Clients, group: &str) -> Vec<String> {
    let call = clients.autoscaling.describe_scaling_activities();
    let answer = call
        .auto_scaling_group_name(group)
        .max_records(ACTIVITIES)
        .send()
        .await;
    let activities = answer
        .ok()
        .and_then(|answer| answer.activities)
        .unwrap_or_default();
    let failed = activities.into_iter().filter_map(|activity| {
        let code = activity.status_code?;
        (code.as_str() == "Failed").then_some(activity.status_message?)
    });
    failed
        .map(|message| format!("Auto Scaling: {message}"))
        .collect()
}
