//! Removes a world however its process ends, except by SIGKILL.

use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, mpsc};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::sweep::{Which, sweep};
use crate::hypervisor::Hypervisor;
use crate::{Error, Result, chain, engine};

/// Time limit for removing a dropped world.
const DROP_BOUND: Duration = Duration::from_mins(1);
/// The pause between two sweeps: parts being created during the first exist by the second.
const AGAIN: Duration = Duration::from_millis(500);

/// Who removes the world on SIGINT or SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// The world itself, which then ends the process: for tests.
    EndProcess,
    /// Its owner, who calls `stop`.
    LeftToOwner,
}

/// A signal has arrived: no more worlds are started.
static ENDING: AtomicBool = AtomicBool::new(false);
/// The hypervisors of this process's worlds, which must be stopped first because they start guests.
static MAKERS: Mutex<Vec<Hypervisor>> = Mutex::new(Vec::new());
/// The folders to remove with this process.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the world `id` when dropped, unless it was removed already.
#[derive(Debug)]
pub(super) struct Cleanup {
    id: String,
    armed: bool,
    signals: Signals,
    hypervisor: Option<Hypervisor>,
}

impl Cleanup {
    /// `temporary` is a folder to remove when a signal ends the process.
    pub(super) fn of(id: &str, signals: Signals, temporary: Option<PathBuf>) -> Result<Self> {
        if signals == Signals::EndProcess {
            watch_signals();
            if ENDING.load(Ordering::SeqCst) {
                return Err(Error::Other("a signal ends this process".to_owned()));
            }
            FOLDERS.lock().extend(temporary);
        }
        Ok(Self {
            id: id.to_owned(),
            armed: true,
            signals,
            hypervisor: None,
        })
    }

    /// Registers the hypervisor of this world.
    pub(super) fn watches(&mut self, hypervisor: Hypervisor) {
        if self.signals == Signals::EndProcess {
            MAKERS.lock().push(hypervisor.clone());
        }
        self.hypervisor = Some(hypervisor);
    }

    /// The world is removed: nothing is left to do.
    pub(super) fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if let Some(hypervisor) = &self.hypervisor {
            hypervisor.cancel();
        }
        let id = self.id.clone();
        // A separate runtime: the current one may be ending, and must not be blocked.
        let removed = std::thread::spawn(move || on_a_runtime(remove(Which::World(&id))));
        if removed.join().is_err() {
            tracing::error!(world = self.id, "could not be removed");
        }
    }
}

/// Waits for signals in a separate thread, because a test's runtime ends with the test, possibly
/// before a signal arrives. Returns once the thread is listening.
fn watch_signals() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let (tell, listening) = mpsc::channel();
        std::thread::spawn(move || on_a_runtime(end_on_signal(tell)));
        // An error means that the thread has ended and reported why.
        let _ = listening.recv();
    });
}

async fn end_on_signal(listening: mpsc::Sender<()>) {
    let watch = || {
        Ok::<[Signal; 2], std::io::Error>([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ])
    };
    let [mut interrupt, mut terminate] = match watch() {
        Ok(signals) => signals,
        Err(error) => return tracing::error!(%error, "no signal is watched for"),
    };
    // Nobody waits for this any more if it fails.
    let _ = listening.send(());
    let code = tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    };
    ENDING.store(true, Ordering::SeqCst);
    for hypervisor in MAKERS.lock().iter() {
        hypervisor.cancel();
    }
    remove(Which::OfThisProcess).await;
    for folder in FOLDERS.lock().iter() {
        // Best effort, because this process is ending.
        let _ = std::fs::remove_dir_all(folder);
    }
    end_process(code);
}

fn on_a_runtime(work: impl Future<Output = ()>) {
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => tracing::error!(%error, "no runtime"),
    }
}

async fn remove(which: Which<'_>) {
    match tokio::time::timeout(DROP_BOUND, sweep_all(which)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(?which, error = chain(&error), "could not be removed"),
        Err(_) => tracing::error!(?which, "removing it took too long"),
    }
}

/// Sweeps until nothing is left: a guest being created keeps its network in use; the next sweep
/// removes both.
async fn sweep_all(which: Which<'_>) -> Result<()> {
    let docker = engine::connect().await?;
    loop {
        match sweep(&docker, which).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => tracing::warn!(?which, error = chain(&error), "swept again"),
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
