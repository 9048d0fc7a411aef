//! A world is removed however its process ends, short of a SIGKILL.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use super::DROP_BOUND;
use super::sweep::{Which, sweep};
use crate::{Error, Result, chain, engine};

/// Who removes the world when the process gets SIGINT or SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// The world itself, which then ends the process: for tests.
    EndProcess,
    /// Its owner, who stops it.
    LeftToOwner,
}

/// Removes the world `id` when dropped, unless that was done already.
#[derive(Debug)]
pub(super) struct Cleanup {
    id: String,
    armed: Arc<AtomicBool>,
}

impl Cleanup {
    pub(super) fn of(id: &str, signals: Signals) -> Result<Self> {
        let armed = Arc::new(AtomicBool::new(true));
        if signals == Signals::EndProcess {
            let mut interrupt =
                signal(SignalKind::interrupt()).map_err(Error::io("watch for Ctrl-C"))?;
            let mut terminate =
                signal(SignalKind::terminate()).map_err(Error::io("watch for SIGTERM"))?;
            let (id, armed) = (id.to_owned(), Arc::clone(&armed));
            tokio::spawn(async move {
                let code = tokio::select! {
                    _ = interrupt.recv() => 130,
                    _ = terminate.recv() => 143,
                };
                if armed.swap(false, Ordering::SeqCst) {
                    remove(&id).await;
                }
                end_process(code);
            });
        }
        Ok(Self {
            id: id.to_owned(),
            armed,
        })
    }

    /// The world is gone: nothing is left to do.
    pub(super) fn disarm(&mut self) {
        self.armed.store(false, Ordering::SeqCst);
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if !self.armed.swap(false, Ordering::SeqCst) {
            return;
        }
        let id = self.id.clone();
        // A runtime of its own: the one around us may be ending, and must not be blocked.
        let removed = std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                runtime.block_on(remove(&id));
            }
        });
        if removed.join().is_err() {
            tracing::error!(world = self.id, "could not be removed");
        }
    }
}

async fn remove(id: &str) {
    let removal = async {
        let docker = engine::connect().await?;
        sweep(&docker, Which::World(id)).await
    };
    match tokio::time::timeout(DROP_BOUND, removal).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::error!(world = id, error = chain(&error), "could not be removed")
        }
        Err(_) => tracing::error!(world = id, "removing it took too long"),
    }
}

#[expect(
    clippy::exit,
    reason = "a signal ends the process; the test harness has no way to"
)]
fn end_process(code: i32) {
    std::process::exit(code);
}
