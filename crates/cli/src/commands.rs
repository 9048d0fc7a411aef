//! What is done for each verb, one file a verb.

mod helper;
mod version;

use crate::cli::{Cli, Verb};
use crate::failure::Failure;

/// Does what the command line says.
pub(crate) async fn perform(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    match cli.verb {
        Verb::Version => version::version(global),
        Verb::Helper => helper::helper().await,
        _ => Err(Failure::new("not yet")),
    }
}
