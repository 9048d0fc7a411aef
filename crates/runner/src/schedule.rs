//! What to do next: one pure function over one view.
//!
//! [`schedule`] reads no clock, does no call and keeps no memory: asked again with the same view
//! it answers the same, so what it asked for must show in the next view.

use std::collections::BTreeSet;

use jiff::Timestamp;
use onspot_fleet::{InstanceId, Lifecycle, Reason};
use onspot_ledger::{JobKey, RunnerName, WorkerId};

mod explain;
mod fleet;
mod intake;
mod obstacle;
mod place;
#[cfg(test)]
mod tests;
mod view;

pub use intake::intake;
pub(crate) use obstacle::obstacle;
pub use view::{JobView, Place, RunnerView, Stage, View, WorkerView};

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Give a waiting job to a worker.
    Assign {
        /// The job.
        job: JobKey,
        /// The worker.
        worker: WorkerId,
    },
    /// End a waiting job that can't be run.
    Fail {
        /// The job.
        job: JobKey,
        /// Why, for people.
        message: String,
    },
    /// Say in a waiting job's trace why it waits.
    Explain {
        /// The job.
        job: JobKey,
        /// Why, for people.
        text: String,
    },
    /// Launch workers.
    Launch {
        /// For which `[[runners]]`.
        runner: RunnerName,
        /// How many.
        count: u32,
        /// How they are paid for.
        lifecycle: Lifecycle,
    },
    /// Ask a worker to finish and take nothing new.
    Drain {
        /// The worker.
        worker: WorkerId,
    },
    /// Give an instance back.
    Terminate {
        /// Whose it is.
        runner: RunnerName,
        /// The instance.
        instance: InstanceId,
        /// Why.
        reason: Reason,
    },
}

impl Action {
    /// The job whose trace the leader stops writing with this, if it does.
    pub(crate) fn takes_over(&self) -> Option<&JobKey> {
        match self {
            Self::Assign { job, .. } | Self::Fail { job, .. } => Some(job),
            Self::Explain { .. }
            | Self::Launch { .. }
            | Self::Drain { .. }
            | Self::Terminate { .. } => None,
        }
    }
}

/// Everything to do now, in the order in which it should be done.
pub fn schedule(view: &View, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    for runner in &view.runners {
        let overdue = overdue(runner, now);
        let placed = place::assignments(runner, &overdue);
        let capacity = fleet::actions(runner, &overdue, &placed, now);
        let explained = explain::reasons(runner, &overdue, &placed, &capacity, now);
        actions.extend(overdue.iter().map(|&id| Action::Fail {
            job: JobKey::new(&runner.name, id),
            message: "no worker was found for it before its time was over".to_owned(),
        }));
        actions.extend(placed.into_iter().map(|(id, worker)| Action::Assign {
            job: JobKey::new(&runner.name, id),
            worker,
        }));
        actions.extend(capacity);
        actions.extend(explained);
    }
    actions
}

/// The waiting jobs whose deadline has passed.
fn overdue(runner: &RunnerView, now: Timestamp) -> BTreeSet<u64> {
    let waiting = runner.jobs.iter().filter(|job| job.place == Place::Waiting);
    waiting
        .filter(|job| job.deadline <= now)
        .map(|job| job.id)
        .collect()
}
