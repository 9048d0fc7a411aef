//! A world is removed however its process ends, short of a SIGKILL.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::DROP_BOUND;
use super::sweep::{Which, sweep};
use crate::hypervisor::Hypervisor;
use crate::{Error, Result, chain, engine};

/// Between two sweeps: what was being made during the first is there at the second.
const AGAIN: Duration = Duration::from_millis(500);

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
    /// Makes guests, and so must be stopped first.
    hypervisor: Arc<OnceLock<Hypervisor>>,
}

impl Cleanup {
    /// `temporary` is a folder that goes as well when a signal ends the process.
    pub(super) fn of(id: &str, signals: Signals, temporary: Option<PathBuf>) -> Result<Self> {
        let armed = Arc::new(AtomicBool::new(true));
        let hypervisor = Arc::new(OnceLock::new());
        if signals == Signals::EndProcess {
            let mut interrupt =
                signal(SignalKind::interrupt()).map_err(Error::io("watch for Ctrl-C"))?;
            let mut terminate =
                signal(SignalKind::terminate()).map_err(Error::io("watch for SIGTERM"))?;
            let (id, armed) = (id.to_owned(), Arc::clone(&armed));
            let maker = Arc::clone(&hypervisor);
            tokio::spawn(async move {
                let code = tokio::select! {
                    _ = interrupt.recv() => 130,
                    _ = terminate.recv() => 143,
                };
                if armed.swap(false, Ordering::SeqCst) {
                    remove(&id, &maker).await;
                }
                if let Some(folder) = temporary {
                    // Best effort: this process ends here.
                    let _ = std::fs::remove_dir_all(folder);
                }
                end_process(code);
            });
        }
        Ok(Self {
            id: id.to_owned(),
            armed,
            hypervisor,
        })
    }

    /// Says what makes guests in this world.
    pub(super) fn watches(&self, hypervisor: Hypervisor) {
        // A world has one, and says so once.
        let _ = self.hypervisor.set(hypervisor);
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
        let (id, maker) = (self.id.clone(), Arc::clone(&self.hypervisor));
        // A runtime of its own: the one around us may be ending, and must not be blocked.
        let removed = std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                runtime.block_on(remove(&id, &maker));
            }
        });
        if removed.join().is_err() {
            tracing::error!(world = self.id, "could not be removed");
        }
    }
}

async fn remove(id: &str, hypervisor: &OnceLock<Hypervisor>) {
    if let Some(hypervisor) = hypervisor.get() {
        hypervisor.cancel();
    }
    match tokio::time::timeout(DROP_BOUND, sweep_all(id)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(world = id, error = chain(&error), "could not be removed");
        }
        Err(_) => tracing::error!(world = id, "removing it took too long"),
    }
}

/// Sweeps until nothing is left: a guest that was being made keeps its network from going, and the
/// next sweep gets both.
async fn sweep_all(id: &str) -> Result<()> {
    let docker = engine::connect().await?;
    loop {
        match sweep(&docker, Which::World(id)).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => tracing::warn!(world = id, error = chain(&error), "swept again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[expect(
    clippy::exit,
    reason = "a signal ends the process; the test harness has no way to"
)]
fn end_process(code: i32) {
    std::process::exit(code);
}
