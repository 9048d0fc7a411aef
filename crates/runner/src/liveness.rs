//! Whether the loops of this process still run. systemd restarts it if they do not.
//!
//! A separate timer would continue while the work is stuck, so the loops report themselves.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// When each loop last reported. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Liveness {
    loops: Arc<Mutex<Loops>>,
}

#[derive(Debug, Default)]
struct Loops {
    count: u64,
    watched: BTreeMap<u64, Watched>,
}

#[derive(Debug)]
struct Watched {
    name: &'static str,
    last: Instant,
    died: bool,
}

impl Liveness {
    /// No loop is watched yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn loops(&self) -> MutexGuard<'_, Loops> {
        // Nothing below panics halfway through a change.
        self.loops.lock()
    }

    /// Watches one more loop until the returned value is dropped. A loop that panics stays watched
    /// and counts as stuck from then on.
    pub fn watch(&self, name: &'static str) -> Beat {
        let mut loops = self.loops();
        loops.count += 1;
        let number = loops.count;
        let watched = Watched {
            name,
            last: Instant::now(),
            died: false,
        };
        loops.watched.insert(number, watched);
        Beat {
            liveness: self.clone(),
            number,
        }
    }

    /// The loops that have not reported for `limit`.
    pub fn stuck(&self, limit: Duration) -> Vec<&'static str> {
        let loops = self.loops();
        let stuck = loops.watched.values();
        stuck
            .filter(|watched| watched.last.elapsed() >= limit)
            .map(|watched| watched.name)
            .collect()
    }

    /// Stops watching dead loops of this name, whose death somebody else handles.
    pub(crate) fn forget_dead(&self, name: &str) {
        let mut loops = self.loops();
        loops
            .watched
            .retain(|_, watched| watched.name != name || !watched.died);
    }
}

/// The handle with which a watched loop reports.
#[derive(Debug)]
pub struct Beat {
    liveness: Liveness,
    number: u64,
}

impl Beat {
    /// Reports that the loop runs.
    pub fn now(&self) {
        if let Some(watched) = self.liveness.loops().watched.get_mut(&self.number) {
            watched.last = Instant::now();
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        let mut loops = self.liveness.loops();
        if !std::thread::panicking() {
            loops.watched.remove(&self.number);
        } else if let Some(watched) = loops.watched.get_mut(&self.number) {
            watched.died = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_stuck_and_one_that_goes_round_or_has_ended_is_not() {
        let liveness = Liveness::new();
        let (round, hung) = (liveness.watch("round"), liveness.watch("hung"));
        let ended = liveness.watch("ended");
        drop(ended);
        for _ in 0..59 {
            tokio::time::advance(Duration::from_secs(1)).await;
            round.now();
        }
        assert!(liveness.stuck(LIMIT).is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(liveness.stuck(LIMIT), ["hung"]);
        hung.now();
        assert!(liveness.stuck(LIMIT).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_died_is_stuck_until_somebody_looks_after_it() {
        let liveness = Liveness::new();
        let beat = liveness.watch("died");
        let died = tokio::spawn(async move {
            let _beat = beat;
            panic!("on purpose");
        });
        assert!(died.await.is_err());
        tokio::time::advance(LIMIT).await;
        assert_eq!(liveness.stuck(LIMIT), ["died"]);
        liveness.forget_dead("died");
        assert!(liveness.stuck(LIMIT).is_empty());
    }
}
