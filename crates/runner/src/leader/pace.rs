//! How closely two rounds may follow one another.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The pace of the rounds: the next one begins after a pause, or earlier when somebody wakes it,
/// but at least `apart` after the last one. A round reads everything, so one round answers all
/// wakes before it.
#[derive(Debug)]
pub(crate) struct Pace {
    apart: Duration,
    begun: Instant,
}

impl Pace {
    /// A pace whose first round begins now.
    pub(crate) fn new(apart: Duration) -> Self {
        Self {
            apart,
            begun: Instant::now(),
        }
    }

    /// Waits until the next round is to begin.
    pub(crate) async fn next(&mut self, pause: Duration, wake: &Notify) {
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        tokio::time::sleep_until(self.begun + self.apart).await;
        self.begun = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_wakes_starts_rounds_no_closer_than_their_spacing() {
        let (wake, millis) = (Arc::new(Notify::new()), Duration::from_millis);
        let storm = Arc::clone(&wake);
        let storm = tokio::spawn(async move {
            loop {
                storm.notify_one();
                tokio::time::sleep(millis(1)).await;
            }
        });
        let begun = Instant::now();
        let mut pace = Pace::new(millis(200));
        for _ in 0..50 {
            pace.next(Duration::from_secs(2), &wake).await;
        }
        assert_eq!(begun.elapsed(), millis(50 * 200));
        storm.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn one_wake_after_a_quiet_time_is_followed_at_once() {
        let (wake, begun) = (Notify::new(), Instant::now());
        let mut pace = Pace::new(Duration::from_millis(200));
        tokio::time::sleep(Duration::from_secs(1)).await;
        wake.notify_one();
        pace.next(Duration::from_secs(2), &wake).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        pace.next(Duration::from_secs(2), &wake).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }
}
