//! What to do next: one pure function over one view.
//!
//! [`schedule`] reads no clock, makes no call and keeps no memory. The same view gives the same
//! answer, so the caller has to show the effect of the actions in the next view.

use std::collections::BTreeSet;

use jiff::Timestamp;
use onspot_fleet::Scale;
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
pub use view::{JobView, Place, RunnerView, View};

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
    /// Launch workers, drain one, or give one back.
    Scale {
        /// The runner.
        runner: RunnerName,
        /// What to do.
        scale: Scale<WorkerId>,
    },
}

impl Action {
    /// The job whose trace the leader stops writing with this action, if any.
    pub(crate) fn takes_over(&self) -> Option<&JobKey> {
        match self {
            Self::Assign { job, .. } | Self::Fail { job, .. } => Some(job),
            Self::Explain { .. } | Self::Scale { .. } => None,
        }
    }
}

/// Everything to do now, in the order in which it should be done.
pub fn schedule(view: View, now: Timestamp) -> Vec<Action> {
    let runners = view.runners.into_iter();
    runners.flat_map(|runner| actions(runner, now)).collect()
}

/// What to do for one runner. Each step applies its effects to the view for the next step.
fn actions(mut runner: RunnerView, now: Timestamp) -> Vec<Action> {
    let failed = fail_overdue(&mut runner, now);
    let assigned = place::assignments(&mut runner);
    let scaled = fleet::scale(&runner, now);
    let explained = explain::reasons(&runner, &scaled, now);
    let job = |id| JobKey::new(&runner.name, id);
    let failed = failed.into_iter().map(|id| Action::Fail {
        job: job(id),
        message: "no worker was found for it before its time was over".to_owned(),
    });
    let assigned = assigned.into_iter().map(|(id, worker)| Action::Assign {
        job: job(id),
        worker,
    });
    let scaled = scaled.into_iter().map(|scale| Action::Scale {
        runner: runner.name.clone(),
        scale,
    });
    let explained = explained
        .into_iter()
        .map(|(id, text)| Action::Explain { job: job(id), text });
    let all = failed.chain(assigned).chain(scaled).chain(explained);
    all.collect()
}

/// The waiting jobs whose deadline has passed.
fn fail_overdue(runner: &mut RunnerView, now: Timestamp) -> BTreeSet<u64> {
    let jobs = runner.jobs.iter_mut();
    let overdue = jobs.filter(|job| job.place == Place::Waiting && job.deadline <= now);
    overdue
        .map(|job| {
            job.place = Place::Ending;
            job.id
        })
        .collect()
}
