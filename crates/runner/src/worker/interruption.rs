//! EC2's notice that the instance will be interrupted.

use std::time::Duration;

use jiff::SignedDuration;
use onspot_executor::Stop;
use onspot_ledger::Interruption;
use tokio::sync::watch;

use super::Agent;
use crate::imds::Imds;

/// Looks for the notice every `interval` and passes it on when it arrives. Ends after that, or when
/// nobody listens any more.
pub async fn watch_for_interruption(
    imds: Imds,
    interval: Duration,
    tell: watch::Sender<Option<Interruption>>,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = tell.closed() => return,
            _ = ticks.tick() => {}
        }
        match imds.interruption().await {
            Ok(Some(notice)) => {
                tracing::warn!(action = notice.action, at = %notice.at, "will be taken away");
                tell.send_replace(Some(notice));
                return;
            }
            Ok(None) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "no answer from the instance's metadata");
                }
                failing = true;
            }
        }
    }
}

impl Agent {
    /// Records the notice in the state, so that the leader assigns nothing more and launches a
    /// replacement. The jobs continue for now.
    pub(super) fn interrupted(&self) {
        let notice = self.context.interruption.borrow().clone();
        self.keeper.store_soon(|state| state.interruption = notice);
    }

    /// How long the jobs may still run; `None` if there is no notice.
    pub(super) fn give_up_in(&self) -> Option<Duration> {
        let at = self.context.interruption.borrow().as_ref()?.at;
        let early = SignedDuration::try_from(self.context.timing.give_up).ok()?;
        let left = self.context.clock.now().duration_until(at) - early;
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// Gives the jobs up, early enough for their traces to be sent.
    pub(super) fn give_up(&mut self) {
        self.gave_up = true;
        self.stop_all(Stop::Interrupt);
    }
}
