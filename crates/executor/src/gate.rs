//! The slots' gates: while a slot is frozen, nothing of its job is started.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, RwLockReadGuard};

/// What is counted at once of the time in which a slot is not frozen.
const STEP: Duration = Duration::from_secs(1);

/// A job passes this gate before every start.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    lock: Arc<RwLock<()>>,
    closings: AtomicU64,
}

impl Gate {
    /// Waits until the slot is not frozen. While the returned guard exists it cannot be frozen:
    /// hold the guard only during a start, so that a freeze finds what was started.
    pub(crate) async fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().await
    }

    /// Sleeps for `time`, not counting the time in which the slot is frozen.
    pub(crate) async fn sleep(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            drop(self.pass().await);
            let (closings, step) = (self.closings(), left.min(STEP));
            tokio::time::sleep(step).await;
            if self.closings() == closings {
                left -= step;
            }
        }
    }

    /// How many times the slot was frozen so far.
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

    /// Closes the gate; returns once every start that has passed it is complete.
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

    /// Opens the gate again.
    pub(crate) fn open(&self, slot: usize) {
        self.slots().entry(slot).or_default().closed = None;
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<usize, Slot>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const SHORT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn nothing_passes_a_closed_gate_until_it_is_opened() {
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
    async fn it_closes_only_after_the_starts_that_have_passed() {
        let gates = Gates::default();
        let gate = gates.of(0);
        let passing = gate.pass().await;
        assert!(tokio::time::timeout(SHORT, gates.close(0)).await.is_err());
        let closing = tokio::time::timeout(SHORT, async {
            tokio::join!(gates.close(0), async { drop(passing) });
        });
        assert!(closing.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn frozen_time_does_not_count() {
        let gates = Gates::default();
        let gate = gates.of(0);
        let begun = Instant::now();
        tokio::join!(gate.sleep(Duration::from_secs(30)), async {
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_secs(10)).await;
                gates.close(0).await;
                tokio::time::sleep(Duration::from_mins(10)).await;
                gates.open(0);
            }
        });
        // Twice ten minutes, and thirty seconds.
        let took = begun.elapsed().as_secs();
        assert!((1230..=1232).contains(&took), "{took} s");
    }
}
