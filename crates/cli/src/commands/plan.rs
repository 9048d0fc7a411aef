//! `onspot plan`: what `up` would change.

use std::fmt::Write as _;

use onspot_reconcile::{EventSender, Plan};
use onspot_stack::{Clients, Spec, UpOptions};
use serde::Serialize;

use crate::cli::{self, Global, Uploads};
use crate::failure::Failure;
use crate::output::Output;
use crate::{progress, uploads};

/// A plan and further information for people.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    pub(super) stack: &'a str,
    pub(super) region: &'a str,
    pub(super) plan: &'a Plan,
    pub(super) notes: &'a [String],
}

/// Shows the plan; changes nothing.
pub(crate) async fn plan(args: &cli::Plan, global: Global) -> Result<(), Failure> {
    let spec = Spec::load(&args.stack.config)?;
    let clients = Clients::connect(&spec).await?;
    // Nothing but the plan goes to stdout.
    let options = options(&args.uploads, progress::show_aside(global)).await?;
    let plan = Box::pin(onspot_stack::plan(&spec, &clients, &options)).await?;
    let plan = plan.changes();
    let notes = spec.notes();
    let shown = Shown {
        stack: &spec.name,
        region: clients.region(),
        plan: &plan,
        notes: &notes,
    };
    Output::new(global.output).result(&shown, || shown.text())
}

/// What `up` and `plan` need from this host; shows progress.
pub(super) async fn options(
    uploads: &Uploads,
    (events, shown): (EventSender, progress::Shown),
) -> Result<UpOptions, Failure> {
    let binary = uploads::binary(uploads)?;
    let helper = uploads::helper(uploads, &binary, &events).await;
    drop(events);
    shown.finished().await;
    Ok(UpOptions {
        helper: helper?,
        ..UpOptions::new(binary)
    })
}

impl Shown<'_> {
    /// For people: the changes, then the notes.
    pub(super) fn text(&self) -> String {
        let Self {
            stack,
            region,
            plan,
            notes,
        } = self;
        let mut text = format!("stack {stack} in {region}\n\n{plan}\n");
        for note in *notes {
            // Writing to a string does not fail.
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}
