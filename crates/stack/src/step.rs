//! One planned change, and the reporting of its progress.

use std::fmt::Display;

use onspot_reconcile::{Change, EventSender, Plan, Step};

/// A change as people see it, and the action that makes it; `None` if nothing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned<A> {
    pub(crate) change: Change,
    pub(crate) action: Option<A>,
}

impl<A> Planned<A> {
    pub(crate) fn keep(change: Change) -> Self {
        Self {
            change,
            action: None,
        }
    }

    pub(crate) fn act(change: Change, action: A) -> Self {
        Self {
            change,
            action: Some(action),
        }
    }
}

/// The changes of all steps, as data.
pub(crate) fn plan_of<A>(steps: &[Planned<A>]) -> Plan {
    steps.iter().map(|step| step.change.clone()).collect()
}

/// Runs `work` and reports its start, its end and the id that it gave.
pub(crate) async fn report<T, E: Display>(
    events: &EventSender,
    change: &Change,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let step = Step::start(events, change.title());
    match work.await {
        Ok(value) => {
            step.done(change.id.as_deref());
            Ok(value)
        }
        Err(error) => {
            step.failed(&error);
            Err(error)
        }
    }
}
