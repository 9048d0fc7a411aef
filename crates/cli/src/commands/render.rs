//! `onspot render`: the stack as a config.toml of GitLab Runner.

use onspot_stack::{Clients, Spec};
use serde::Serialize;

use crate::cli::{Global, Render};
use crate::failure::Failure;
use crate::output::Output;

/// The file, for programs.
#[derive(Debug, Serialize)]
struct Rendered {
    config: String,
}

/// Prints the file. Calls AWS only with `--live`.
pub(crate) async fn render(args: &Render, global: Global) -> Result<(), Failure> {
    let spec = Spec::load(&args.stack.config)?;
    let clients = if args.live {
        Some(Clients::connect(&spec).await?)
    } else {
        None
    };
    let config = onspot_stack::render(&spec, clients.as_ref()).await?;
    let rendered = Rendered { config };
    Output::new(global.output).result(&rendered, || rendered.config.clone())
}
