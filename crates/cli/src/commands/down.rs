//! `onspot down`: removes the stack and everything in it.

mod jobs;

use std::fmt::Write as _;
use std::time::Duration;

use onspot_reconcile::Plan;
use onspot_stack::{Clients, Spec};
use serde::Serialize;

use self::jobs::Jobs;
use crate::cli::{Down, Global};
use crate::failure::Failure;
use crate::output::Output;
use crate::{confirm, progress};

/// How long GitLab may take to be told about all jobs together.
const TELLING: Duration = Duration::from_mins(1);
/// How long to wait for somebody else who is changing the stack.
const PATIENCE: Duration = Duration::from_mins(10);

/// What will be or was removed, for programs.
#[derive(Debug, Serialize)]
struct Removed<'a> {
    event: &'static str,
    stack: &'a str,
    plan: &'a Plan,
    /// Further information for people.
    notes: &'a [String],
}

/// Shows what will be removed, asks for confirmation, and removes it.
pub(crate) async fn down(args: &Down, global: Global) -> Result<(), Failure> {
    let output = Output::new(global.output);
    let spec = Spec::load(&args.stack.config)?;
    if !args.yes && !confirm::can_ask() {
        return Err(Failure::usage("nobody is there to be asked")
            .hint("say --yes to remove the stack without being asked"));
    }
    let clients = Clients::connect(&spec).await?;
    let stack = spec.name.as_str();
    if !args.yes {
        let plan = Box::pin(onspot_stack::plan_down(stack, &clients)).await?;
        output.result(
            &Removed {
                event: "plan",
                stack,
                plan: &plan,
                notes: &[],
            },
            || format!("stack {stack} in {}\n\n{plan}\n", clients.region()),
        )?;
        if !plan.is_empty()
            && !confirm::confirmed(
                "Remove all this, cache and logs with it, and end the jobs that still run?",
            )
            .await?
        {
            return Err(Failure::new("nothing was removed, as you said"));
        }
    }
    let (events, shown) = progress::show(global);
    let runners = spec.runners.iter();
    let jobs = Jobs {
        gitlabs: runners
            .map(|runner| (runner.name.clone(), runner.url.clone()))
            .collect(),
        limit: TELLING,
    };
    let down = onspot_stack::down(stack, &clients, &jobs, PATIENCE, &events);
    let removed = Box::pin(down).await;
    drop(events);
    shown.finished().await;
    let removed = removed?;
    output.result(
        &Removed {
            event: "down",
            stack,
            plan: &removed.plan,
            notes: &removed.notes,
        },
        || text(stack, clients.region(), &removed, args.yes),
    )
}

/// For people; after a confirmation they have seen the list already.
fn text(stack: &str, region: &str, removed: &onspot_stack::Removed, unasked: bool) -> String {
    let onspot_stack::Removed { plan, notes } = removed;
    let mut text = match plan.acting().count() {
        0 => format!("there is no stack {stack} in {region}\n"),
        count if unasked => format!("{plan}\nstack {stack} is gone: {count} resources\n"),
        count => format!("stack {stack} is gone: {count} resources\n"),
    };
    for note in notes {
        // Writing to a string does not fail.
        let _ = writeln!(text, "note: {note}");
    }
    text
}
