//! `onspot helper`: answers one request inside a job's helper container.

use crate::failure::Failure;

/// Reads the request from stdin, executes it, and answers on stdout and stderr.
pub(crate) async fn helper() -> Result<(), Failure> {
    match onspot_executor::helper::run(tokio::io::stdin()).await {
        0 => Ok(()),
        // The helper has already written the error to stderr.
        _ => Err(Failure::silent()),
    }
}
