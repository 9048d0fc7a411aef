//! A world is removed however its process ends, short of a SIGKILL.

use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, mpsc};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::sweep::{Which, sweep};
use crate::hypervisor::Hypervisor;
use crate::{Error, Result, chain, engine};

/// How long a world may take to be removed when it is dropped.
const DROP_BOUND: Duration = Duration::from_mins(1);
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

/// A signal has come: no world begins any more.
static ENDING: AtomicBool = AtomicBool::new(false);
/// What makes guests in the worlds of this process, and so must be stopped first.
static MAKERS: Mutex<Vec<Hypervisor>> = Mutex::new(Vec::new());
/// The folders that go with this process.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the world `id` when dropped, unless that was done already.
#[derive(Debug)]
pub(super) struct Cleanup {
    id: String,
    armed: bool,
    signals: Signals,
    hypervisor: Option<Hypervisor>,
}

impl Cleanup {
    /// `temporary` is a folder that goes as well when a signal ends the process.
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

    /// Says what makes guests in this world.
    pub(super) fn watches(&mut self, hypervisor: Hypervisor) {
        if self.signals == Signals::EndProcess {
            MAKERS.lock().push(hypervisor.clone());
        }
        self.hypervisor = Some(hypervisor);
    }

    /// The world is gone: nothing is left to do.
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
        // A runtime of its own: the one around us may be ending, and must not be blocked.
        let removed = std::thread::spawn(move || on_a_runtime(remove(Which::World(&id))));
        if removed.join().is_err() {
            tracing::error!(world = self.id, "could not be removed");
        }
    }
}

/// Lets a thread of its own wait for signals: a test's runtime ends with the test, which may be
/// the first thing that a signal brings about. Returns when it listens.
fn watch_signals() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let (tell, listening) = mpsc::channel();
        std::thread::spawn(move || on_a_runtime(end_on_signal(tell)));
        // An error is that of a thread that has ended, and said why.
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
        // Best effort: this process ends here.
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

/// Sweeps until nothing is left: a guest that was being made keeps its network from going, and the
/// next sweep gets both.
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
