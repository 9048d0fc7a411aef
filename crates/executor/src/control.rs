//! What may end a job early: a stop from outside, or the end of its time.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::run::Stop;

/// Why something was not waited for to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The job was cancelled.
    Canceled,
    /// The attempt is over, nobody is told.
    Aborted,
    /// The time is up.
    TimedOut,
}

/// Watches over a job.
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

    /// The same, with less time from now on.
    pub(crate) fn within(&self, limit: Duration) -> Self {
        let deadline = self.deadline.min(Instant::now() + limit);
        Self {
            stop: self.stop.clone(),
            deadline,
        }
    }

    /// The same with time of its own, whatever is left of the job's.
    pub(crate) fn afresh(&self, limit: Duration) -> Self {
        Self {
            stop: self.stop.clone(),
            deadline: Instant::now() + limit,
        }
    }

    /// Whether somebody has cancelled the job.
    pub(crate) fn is_canceled(&self) -> bool {
        *self.stop.borrow() == Some(Stop::Cancel)
    }

    /// Whether the job's time is up.
    pub(crate) fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Waits for something unless the job is stopped or its time is up before.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Interruption> {
        tokio::select! {
            biased;
            interruption = self.interrupted(true) => Err(interruption),
            done = work => Ok(done),
        }
    }

    /// The same after a cancel: only an abort counts now, and the time.
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

    /// Waits until the job is to end early.
    pub(crate) async fn interrupted(&self, by_cancel: bool) -> Interruption {
        tokio::select! {
            biased;
            interruption = self.stopped(by_cancel) => interruption,
            () = sleep_until(self.deadline) => Interruption::TimedOut,
        }
    }

    /// Waits for an abort, and for nothing else.
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
            // Nobody is left who could stop it: it runs to its end.
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
    async fn after_a_cancel_only_an_abort_counts() {
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
    async fn a_caller_that_is_gone_stops_nothing() {
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
