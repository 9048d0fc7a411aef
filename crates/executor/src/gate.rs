//! Slots that stand still: while one is frozen, nothing of its job is begun.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, RwLockReadGuard};

/// What a job passes with everything that it begins.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    lock: Arc<RwLock<()>>,
    closings: AtomicU64,
}

impl Gate {
    /// Waits until the slot is not frozen. It is not frozen before what this returns is dropped:
    /// to be held while something is begun, so that a freeze finds it, and no longer.
    pub(crate) async fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().await
    }

    /// How often the slot was frozen so far.
    pub(crate) fn closings(&self) -> u64 {
        self.closings.load(Ordering::SeqCst)
    }
}

/// The gates of all slots.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<HashMap<usize, Slot>>);

#[derive(Debug, Default)]
struct Slot {
    gate: Arc<Gate>,
    closed: Option<OwnedRwLockWriteGuard<()>>,
}

impl Gates {
    /// The gate of a slot.
    pub(crate) fn of(&self, slot: usize) -> Arc<Gate> {
        Arc::clone(&self.slots().entry(slot).or_default().gate)
    }

    /// Lets nothing pass any more; ready once everything that has passed was begun.
    pub(crate) async fn close(&self, slot: usize) {
        let gate = {
            let mut slots = self.slots();
            let slot = slots.entry(slot).or_default();
            if slot.closed.is_some() {
                return;
            }
            slot.gate.closings.fetch_add(1, Ordering::SeqCst);
            Arc::clone(&slot.gate)
        };
        let closed = Arc::clone(&gate.lock).write_owned().await;
        self.slots().entry(slot).or_default().closed = Some(closed);
    }

    /// Lets everything pass again.
    pub(crate) fn open(&self, slot: usize) {
        self.slots().entry(slot).or_default().closed = None;
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<usize, Slot>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SHORT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_lets_nothing_pass_until_it_is_opened() {
        let gates = Gates::default();
        let (gate, other) = (gates.of(0), gates.of(1));
        drop(gate.pass().await);
        gates.close(0).await;
        gates.close(0).await;
        assert_eq!((gate.closings(), other.closings()), (1, 0));
        assert!(tokio::time::timeout(SHORT, gate.pass()).await.is_err());
        drop(other.pass().await);
        gates.open(0);
        drop(gate.pass().await);
    }

    #[tokio::test(start_paused = true)]
    async fn it_closes_only_when_what_has_passed_was_begun() {
        let gates = Gates::default();
        let gate = gates.of(0);
        let passing = gate.pass().await;
        assert!(tokio::time::timeout(SHORT, gates.close(0)).await.is_err());
        let closing = tokio::time::timeout(SHORT, async {
            tokio::join!(gates.close(0), async { drop(passing) });
        });
        assert!(closing.await.is_ok());
    }
}
