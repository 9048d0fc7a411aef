//! Ships the journal of this process's own unit to CloudWatch Logs.
//!
//! journald keeps the lines until they are shipped: a batch is read and sent until it is accepted;
//! only then its last line's cursor is stored. So nothing is lost while CloudWatch is unreachable,
//! memory is bounded by one batch, and a restarted process continues where it was.

mod batch;
mod cursor;
mod journal;
mod ship;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

pub(crate) use ship::Destination;

/// Where the shippers' cursors are stored.
const STATE_DIR: &str = "/var/lib/onspot";

/// Ships the journal of `units` until `end`, then the remaining lines for a few more seconds.
pub(crate) async fn run(units: &[&str], destination: Destination, end: CancellationToken) {
    let cursor = cursor::CursorFile::new(PathBuf::from(STATE_DIR).join("logship.cursor"));
    let journal = match journal::Journal::follow(units, cursor.read().as_deref()) {
        Ok(journal) => journal,
        Err(error) => {
            tracing::warn!(%error, "there is no journal here; logs are not shipped");
            return;
        }
    };
    ship::ship(journal, &destination, &cursor, end).await;
}
