//! Reasons to end a job early: a stop from outside, or the timeout.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::run::Stop;

/// Why waiting for something was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The job was cancelled.
    Canceled,
    /// The attempt was aborted; nothing is reported.
    Aborted,
    /// The time is up.
    TimedOut,
}

/// Watches for a job's stop and timeout.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    stop: watch::Receiver<Option<Stop>>,
    deadline: Instant,
}

impl Control {
    pub(crate) fn new(stop: watch::Receiver<Option<Stop>>, timeout: Duration) -> Self {
        Self {
            stop,
            deadline: Instant::now() + timeout,
        }
    }

    /// A copy with a shorter time limit from now on.
    pub(crate) fn within(&self, limit: Duration) -> Self {
        let deadline = self.deadline.min(Instant::now() + limit);
        Self {
            stop: self.stop.clone(),
            deadline,
        }
    }

    /// A copy with its own time limit, independent of the job's.
    pub(crate) fn afresh(&self, limit: Duration) -> Self {
        Self {
            stop: self.stop.clone(),
            deadline: Instant::now() + limit,
        }
    }

    /// Whether the job was cancelled.
    pub(crate) fn is_canceled(&self) -> bool {
        *self.stop.borrow() == Some(Stop::Cancel)
    }

    /// Whether the job's time is up.
    pub(crate) fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Runs `work` unless the job is stopped or its time is up first.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Interruption> {
        tokio::select! {
            biased;
            interruption = self.interrupted(true) => Err(interruption),
            done = work => Ok(done),
        }
    }

    /// Like [`guard`](Self::guard) after a cancel: only an abort and the timeout interrupt.
    pub(crate) async fn guard_from_abort<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, Interruption> {
        tokio::select! {
            biased;
            interruption = self.interrupted(false) => Err(interruption),
            done = work => Ok(done),
        }
    }

    /// Waits until the job has to end early.
    pub(crate) async fn interrupted(&self, by_cancel: bool) -> Interruption {
        tokio::select! {
            biased;
            interruption = self.stopped(by_cancel) => interruption,
            () = sleep_until(self.deadline) => Interruption::TimedOut,
        }
    }

    /// Waits for an abort only.
    pub(crate) async fn aborted(&self) {
        self.stopped(false).await;
    }

    async fn stopped(&self, by_cancel: bool) -> Interruption {
        let mut stop = self.stop.clone();
        let counts =
            |stop: &Option<Stop>| stop.is_some_and(|stop| by_cancel || stop != Stop::Cancel);
        let stop = stop.wait_for(counts).await.map(|stop| *stop);
        match stop {
            Ok(Some(Stop::Cancel)) => Interruption::Canceled,
            Ok(_) => Interruption::Aborted,
            // Nobody can stop it any more: it runs to its end.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREVER: Duration = Duration::from_secs(1_000_000);

    #[tokio::test(start_paused = true)]
    async fn the_first_of_work_stop_and_time_wins() {
        let (sender, stop) = watch::channel(None);
        let control = Control::new(stop, Duration::from_mins(1));
        assert_eq!(control.guard(async { 1 }).await, Ok(1));

        let late = control.guard(tokio::time::sleep(FOREVER)).await;
        assert_eq!(late, Err(Interruption::TimedOut));
        assert!(control.is_late());

        sender.send_replace(Some(Stop::Cancel));
        assert_eq!(
            control.guard(async { 1 }).await,
            Err(Interruption::Canceled)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_cancel_only_an_abort_interrupts() {
        let (sender, stop) = watch::channel(Some(Stop::Cancel));
        let control = Control::new(stop, Duration::from_mins(1));
        assert_eq!(control.guard_from_abort(async { 1 }).await, Ok(1));
        sender.send_replace(Some(Stop::Interrupt));
        assert_eq!(
            control.guard_from_abort(async { 1 }).await,
            Err(Interruption::Aborted)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_sender_stops_nothing() {
        let (sender, stop) = watch::channel(None);
        drop(sender);
        let control = Control::new(stop, Duration::from_mins(1));
        let work = tokio::time::sleep(Duration::from_secs(30));
        assert_eq!(control.guard(work).await, Ok(()));
        let short = control.within(Duration::from_secs(1));
        assert_eq!(
            short.guard(tokio::time::sleep(FOREVER)).await,
            Err(Interruption::TimedOut)
        );
    }
}
