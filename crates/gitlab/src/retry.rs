//! How long to wait before the next try.

use std::time::Duration;

use rand::Rng as _;

/// Waits that double, with jitter, up to a limit.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self { next: first, max }
    }

    /// For ordinary requests, as GitLab Runner does it: 100 ms to 60 s.
    pub(crate) fn requests() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_mins(1))
    }

    /// The next wait: what GitLab asked for, else the next of the doubling ones.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let wait = self.next.min(self.max);
        self.next = wait.saturating_mul(2).min(self.max);
        match asked {
            Some(asked) => asked.min(self.max),
            // Half is certain, half is chance: many runners must not come back at once.
            None => wait.mul_f64(rand::rng().random_range(0.5..=1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
        for most in [1, 2, 4, 4] {
            let wait = backoff.next(None);
            let most = Duration::from_secs(most);
            assert!(wait <= most && wait >= most / 2, "{wait:?}");
        }
    }

    #[test]
    fn gitlab_may_ask_for_a_longer_wait_within_limits() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        assert_eq!(
            backoff.next(Some(Duration::from_secs(7))),
            Duration::from_secs(7)
        );
        assert_eq!(
            backoff.next(Some(Duration::from_secs(700))),
            Duration::from_mins(1)
        );
    }
}
