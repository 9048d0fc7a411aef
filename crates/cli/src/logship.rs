//! Brings the journal of this process's own unit to CloudWatch Logs.
//!
//! journald keeps the lines until they are shipped: a batch is read, sent until it is taken, and
//! only then is the cursor behind its last line stored. So nothing is lost while CloudWatch is out
//! of reach, memory is bounded by one batch, and a restarted process goes on where it was.

mod batch;
mod cursor;
mod journal;
mod ship;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

pub(crate) use ship::Destination;

/// Where shippers note how far they came.
const STATE_DIR: &str = "/var/lib/onspot";

/// Ships the journal of `units` until `end`, then what is left for some seconds more.
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
