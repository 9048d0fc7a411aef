//! What a worker needs, and why it may not be able to continue.

use std::path::PathBuf;
use std::sync::Arc;

use onspot_executor::Executor;
use onspot_ledger::{Interruption, Ledger, Step, WorkerId};
use onspot_settings::Timing;
use tokio::sync::watch;

use super::{CachePlace, Retirement};
use crate::clock::Clock;
use crate::coordinator::Coordinator;
use crate::liveness::Liveness;

/// What a worker needs to run.
pub struct WorkerContext {
    /// What is where.
    pub ledger: Arc<dyn Ledger>,
    /// The time.
    pub clock: Clock,
    /// How fast things are noticed.
    pub timing: Timing,
    /// The identity of this worker.
    pub id: WorkerId,
    /// The version of its program, for the ledger.
    pub version: String,
    /// How many jobs it runs at once, at least 1.
    pub slots: u32,
    /// After how many attempts it takes no more; 0 means never.
    pub max_builds: u32,
    /// The executor of the jobs.
    pub executor: Arc<dyn Executor>,
    /// The receiver of reports about them.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where their cache is.
    pub cache: CachePlace,
    /// The file in which the lease is recorded for the watchdog; `None` without a watchdog.
    pub lease_file: Option<PathBuf>,
    /// The interruption notice of this machine.
    pub interruption: watch::Receiver<Option<Interruption>>,
    /// The liveness of the loops.
    pub liveness: Liveness,
    /// The steps of the boot before this process started.
    pub milestones: Vec<Step>,
    /// Whether the machine serves this worker only, so that it shuts down when nobody needs it.
    pub ends_itself: bool,
}

/// How a worker's loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkEnd {
    /// It was told to.
    Stopped,
    /// The worker has retired, and its machine should be shut down.
    Retired(Retirement),
}

/// Why a worker can't go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// What a predecessor left running could not be killed, and new jobs must not run beside it.
    #[error("what an earlier agent left running could not be killed")]
    Sweep(#[source] onspot_executor::Error),
    /// Another agent writes this worker's state.
    #[error("another agent has taken over {worker}")]
    Superseded {
        /// Which worker this is.
        worker: WorkerId,
    },
}

impl WorkerError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Sweep(error) => error.hint(),
            Self::Superseded { .. } => {
                Some("run one agent on each worker, as its own instance".to_owned())
            }
        }
    }
}
