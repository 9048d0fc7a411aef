//! What a worker is given, and why it may not go on.

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

/// What a worker works with.
pub struct WorkerContext {
    /// What is where.
    pub ledger: Arc<dyn Ledger>,
    /// The time.
    pub clock: Clock,
    /// How fast things are noticed.
    pub timing: Timing,
    /// Who this worker is.
    pub id: WorkerId,
    /// The version of its program, for the ledger.
    pub version: String,
    /// How many jobs it runs at once, at least 1.
    pub slots: u32,
    /// After how many attempts it takes no more; 0 means never.
    pub max_builds: u32,
    /// What runs the jobs.
    pub executor: Arc<dyn Executor>,
    /// Who is told about them.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where their cache is.
    pub cache: CachePlace,
    /// Where the lease is noted for the watchdog; `None` where there is none.
    pub lease_file: Option<PathBuf>,
    /// The notice that this machine will be taken away.
    pub interruption: watch::Receiver<Option<Interruption>>,
    /// Hears from the loops that they go round.
    pub liveness: Liveness,
    /// What the machine reached before this process started.
    pub milestones: Vec<Step>,
    /// Whether the machine is there for this worker alone, so that it ends when nobody needs it.
    pub ends_itself: bool,
}

/// How a worker's loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkEnd {
    /// It was told to.
    Stopped,
    /// The worker goes for good: its machine is to be ended.
    Retired(Retirement),
}

/// Why a worker can't go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// What a predecessor left behind could not be killed; to go on would be to run beside it.
    #[error("what an earlier agent left running could not be killed")]
    Sweep(#[source] onspot_executor::ExecutorError),
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
