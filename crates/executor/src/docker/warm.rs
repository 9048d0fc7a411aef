//! The helpers waiting for the next jobs.

use parking_lot::MutexGuard;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::demand::{Demand, LATELY};
use super::helper::Helper;
use super::{Inner, container, sweep};
use crate::error::Error;

/// How long closing waits for unfinished creations.
const MAKING: Duration = Duration::from_secs(15);

/// The waiting helpers, and the expected number of jobs.
#[derive(Debug, Default)]
pub(super) struct Warm {
    helpers: HashMap<usize, Helper>,
    /// Slots whose helper is being started.
    making: HashSet<usize>,
    demand: Demand,
}

/// Marks a job as running while it exists.
pub(super) struct Busy(Arc<Inner>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.warm().demand.ends(Instant::now());
    }
}

impl Inner {
    fn warm(&self) -> MutexGuard<'_, Warm> {
        self.warm.lock()
    }

    /// Counts a job as running.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.warm().demand.begins(Instant::now());
        Busy(Arc::clone(self))
    }

    /// Forgets the waiting helpers, because they are being removed.
    pub(super) fn forget_helpers(&self) {
        self.warm().helpers.clear();
    }

    /// The slot's helper: the waiting one, or a new one.
    pub(super) async fn take_helper(&self, slot: usize) -> Result<Helper, Error> {
        let waiting = self.warm().helpers.remove(&slot);
        if let Some(helper) = waiting {
            if container::is_running(&self.docker, &helper.id).await {
                return Ok(helper);
            }
            container::remove(&self.docker, &helper.id).await;
        }
        self.new_helper(slot).await
    }

    /// Makes sure that the slot's helper waits, if one is wanted.
    pub(super) async fn warm_up(&self, slot: usize) -> Result<(), Error> {
        if !self.is_wanted(slot) {
            return Ok(());
        }
        let made = self.new_helper(slot).await;
        let surplus = {
            let mut warm = self.warm();
            warm.making.remove(&slot);
            let helper = made?;
            if self.closed.is_cancelled() || warm.helpers.contains_key(&slot) {
                Some(helper)
            } else {
                warm.helpers.insert(slot, helper);
                None
            }
        };
        if let Some(helper) = surplus {
            container::remove(&self.docker, &helper.id).await;
        }
        Ok(())
    }

    /// Whether a helper should be started for a slot; if so, it is marked as being started.
    fn is_wanted(&self, slot: usize) -> bool {
        let mut warm = self.warm();
        let wanted = slot < warm.demand.wanted(Instant::now())
            && !self.closed.is_cancelled()
            && !warm.helpers.contains_key(&slot);
        wanted && warm.making.insert(slot)
    }

    /// Like [`warm_up`](Self::warm_up), in the background.
    pub(super) fn warm_in_background(self: &Arc<Self>, slot: usize) {
        let inner = Arc::clone(self);
        self.making.spawn(async move {
            if let Err(error) = inner.warm_up(slot).await {
                tracing::warn!(slot, %error, "no helper was kept ready");
            }
        });
    }

    /// Later removes waiting helpers beyond the number that is still wanted.
    pub(super) fn cool_down_later(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        self.making.spawn(async move {
            tokio::select! {
                () = sleep(LATELY + Duration::from_secs(1)) => inner.cool_down().await,
                () = inner.closed.cancelled() => {}
            }
        });
    }

    async fn cool_down(&self) {
        let surplus: Vec<Helper> = {
            let mut warm = self.warm();
            let wanted = warm.demand.wanted(Instant::now());
            let surplus = warm.helpers.extract_if(|&slot, _| slot >= wanted);
            surplus.map(|(_, helper)| helper).collect()
        };
        for helper in surplus {
            container::remove(&self.docker, &helper.id).await;
        }
    }

    /// Waits for unfinished creations, and removes everything of this runner: there will be no more
    /// jobs.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        self.making.close();
        if timeout(MAKING, self.making.wait()).await.is_err() {
            tracing::warn!("the engine is still making something: the next start removes it");
        }
        self.forget_helpers();
        let runner = &self.settings.common.runner.name;
        if let Err(error) = sweep::sweep(&self.docker, Some(runner)).await {
            tracing::warn!(%error, "not everything could be removed");
        }
    }
}
