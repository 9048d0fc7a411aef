//! `onspot down`: removes the stack and all it made.

use onspot_reconcile::Plan;
use onspot_stack::{Clients, Spec};
use serde::Serialize;

use crate::cli::{Down, Global};
use crate::failure::Failure;
use crate::output::Output;
use crate::{confirm, progress};

/// What is or was removed, for programs.
#[derive(Debug, Serialize)]
struct Removed<'a> {
    event: &'static str,
    stack: &'a str,
    plan: &'a Plan,
}

/// Says what goes, asks, and removes it.
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
            },
            || format!("stack {stack} in {}\n\n{plan}\n", clients.region()),
        )?;
        if !plan.is_empty()
            && !confirm::confirmed("Remove all this, cache and logs with it?").await?
        {
            return Err(Failure::new("nothing was removed, as you said"));
        }
    }
    let (events, shown) = progress::show(global);
    let removed = Box::pin(onspot_stack::down(stack, &clients, &events)).await;
    drop(events);
    shown.finished().await;
    let removed = removed?;
    output.result(
        &Removed {
            event: "down",
            stack,
            plan: &removed,
        },
        || {
            let count = removed.acting().count();
            match count {
                0 => format!("there is no stack {stack} in {}\n", clients.region()),
                // Who was asked has seen the list.
                _ if !args.yes => format!("stack {stack} is gone: {count} resources\n"),
                _ => format!("{removed}\nstack {stack} is gone: {count} resources\n"),
            }
        },
    )
}
