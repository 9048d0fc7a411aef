//! Limits the open requests for jobs to the jobs that can be placed.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;

use onspot_ledger::RunnerName;
use tokio::sync::Notify;

/// How many requests each runner may send, which the rounds decide, and how many are open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Permits {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    counts: Mutex<Counts>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    open: BTreeMap<RunnerName, u32>,
    asking: BTreeMap<RunnerName, u32>,
    /// How many requests were ever sent.
    granted: BTreeMap<RunnerName, u64>,
}

/// The requests at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// The open requests.
    pub on_their_way: BTreeMap<RunnerName, u32>,
    /// How many requests were ever sent.
    pub sent: BTreeMap<RunnerName, u64>,
}

/// An open request; it counts until this is dropped.
pub(crate) struct Asking {
    permits: Permits,
    runner: RunnerName,
}

impl Permits {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing below panics halfway through a change.
        self.shared.counts.lock()
    }

    /// The open requests. Read this before the ledger, so that a job that arrives in between is
    /// counted twice rather than not at all.
    pub(crate) fn asked(&self) -> Asked {
        let counts = self.counts();
        Asked {
            on_their_way: counts.asking.clone(),
            sent: counts.granted.clone(),
        }
    }

    /// Sets how many more requests may be sent, computed from the requests at `then`. Requests that
    /// were sent since then are subtracted.
    pub(crate) fn publish(&self, mut open: BTreeMap<RunnerName, u32>, then: &Asked) {
        let mut counts = self.counts();
        let mut excess = 0;
        for (runner, granted) in &counts.granted {
            let known = then.sent.get(runner).copied().unwrap_or_default();
            let since = u32::try_from(granted.saturating_sub(known)).unwrap_or(u32::MAX);
            let own = open.entry(runner.clone()).or_default();
            excess += since.saturating_sub(*own);
            *own = own.saturating_sub(since);
        }
        // Requests that a runner's own permits do not cover are subtracted from the others'
        // permits, because `concurrent` limits all runners together.
        for others in open.values_mut() {
            let off = excess.min(*others);
            *others -= off;
            excess -= off;
        }
        counts.open = open;
        drop(counts);
        self.shared.changed.notify_waiters();
    }

    /// Waits until `runner` may send a request.
    pub(crate) async fn take(&self, runner: &RunnerName) -> Asking {
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut counts = self.counts();
                if let Some(open) = counts.open.get_mut(runner).filter(|open| **open > 0) {
                    *open -= 1;
                    *counts.asking.entry(runner.clone()).or_default() += 1;
                    *counts.granted.entry(runner.clone()).or_default() += 1;
                    return Asking {
                        permits: self.clone(),
                        runner: runner.clone(),
                    };
                }
            }
            changed.await;
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(asking) = self.permits.counts().asking.get_mut(&self.runner) {
            *asking = asking.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_permit_is_used_once_and_counts_until_the_answer() {
        let (permits, runner) = (Permits::new(), RunnerName::new("r"));
        permits.publish([(runner.clone(), 1)].into(), &permits.asked());
        let asking = permits.take(&runner).await;
        assert_eq!(permits.asked().on_their_way[&runner], 1);
        let second = tokio::time::timeout(Duration::from_millis(1), permits.take(&runner)).await;
        assert!(second.is_err());
        drop(asking);
        assert_eq!(permits.asked().on_their_way[&runner], 0);
    }

    #[tokio::test]
    async fn what_was_asked_since_comes_off_what_is_published() {
        let (permits, a, b) = (Permits::new(), RunnerName::new("a"), RunnerName::new("b"));
        let open = |of_a, of_b| BTreeMap::from([(a.clone(), of_a), (b.clone(), of_b)]);
        permits.publish(open(2, 0), &permits.asked());
        let then = permits.asked();
        let _both = (permits.take(&a).await, permits.take(&a).await);
        permits.publish(open(1, 2), &then);
        assert_eq!(permits.counts().open, open(0, 1));
        permits.publish(open(1, 2), &permits.asked());
        assert_eq!(permits.counts().open, open(1, 2));
    }
}
