//! `onspot up`: creates the stack, or brings it up to date.

use std::fmt::Write as _;
use std::time::Duration;

use onspot_stack::{Clients, Outputs, Spec, StackPlan, UpOptions};
use serde::Serialize;

use super::plan::{self, Shown};
use crate::cli::{Global, Up};
use crate::failure::Failure;
use crate::output::Output;
use crate::{confirm, progress};

/// The last line for programs.
#[derive(Debug, Serialize)]
struct Ended<'a> {
    event: &'static str,
    outputs: &'a Outputs,
}

/// Shows the plan, asks for confirmation on a terminal, and applies it.
pub(crate) async fn up(args: &Up, global: Global) -> Result<(), Failure> {
    let output = Output::new(global.output);
    let spec = Spec::load(&args.stack.config)?;
    let clients = Clients::connect(&spec).await?;
    let options = plan::options(&args.uploads, progress::show(global)).await?;
    let options = UpOptions {
        verify: !args.no_verify,
        patience: Duration::from_secs(args.wait),
        ..options
    };
    let agreed = if !args.yes && confirm::can_ask() {
        Some(Box::pin(agreed(&spec, &clients, &options, output)).await?)
    } else {
        None
    };
    let (events, shown) = progress::show(global);
    let outputs = match agreed {
        Some(plan) => Box::pin(plan.apply(&options, &events)).await,
        None => Box::pin(onspot_stack::up(&spec, &clients, &options, &events)).await,
    };
    drop(events);
    shown.finished().await;
    let outputs = outputs?;
    output.result(
        &Ended {
            event: "up",
            outputs: &outputs,
        },
        || text(&outputs),
    )
}

/// Shows the plan and asks for confirmation; an empty plan needs none.
async fn agreed<'a>(
    spec: &'a Spec,
    clients: &'a Clients,
    options: &UpOptions,
    output: Output,
) -> Result<StackPlan<'a>, Failure> {
    let plan = Box::pin(onspot_stack::plan(spec, clients, options)).await?;
    let changes = plan.changes();
    let notes = spec.notes();
    let shown = Shown {
        stack: &spec.name,
        region: clients.region(),
        plan: &changes,
        notes: &notes,
    };
    output.result(&shown, || shown.text())?;
    if changes.is_empty() || confirm::confirmed("Do this?").await? {
        Ok(plan)
    } else {
        Err(Failure::new("nothing was changed, as you said"))
    }
}

fn text(outputs: &Outputs) -> String {
    let Outputs {
        stack,
        region,
        bucket,
        log_group,
        changes,
        notes,
        ..
    } = outputs;
    let changed = if changes.is_empty() {
        "nothing had to change"
    } else {
        "it is up"
    };
    let mut text = format!(
        "stack {stack} in {region}: {changed}, and its manager has said hello to GitLab\n  \
         bucket     {bucket}\n  log group  {log_group}\n"
    );
    for note in notes {
        // Writing to a string does not fail.
        let _ = writeln!(text, "note: {note}");
    }
    text
}
