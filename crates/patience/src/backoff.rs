//! Pauses between tries.

use std::time::Duration;

use rand::Rng as _;

/// Pauses that double, with jitter, up to a limit.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            next: first,
            longest,
        }
    }

    /// The next pause. Half of it is random, so that clients that failed together do not retry
    /// together.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2).min(self.longest);
        pause.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// The next pause, or the one that the other side asks for, up to the limit.
    pub fn pause_as(&mut self, asked: Option<Duration>) -> Duration {
        let own = self.pause();
        asked.map_or(own, |asked| asked.min(self.longest))
    }

    /// Starts again with the shortest pause, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_until_a_try_works() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
        for most in [1, 2, 4, 4] {
            let pause = backoff.pause();
            let most = Duration::from_secs(most);
            assert!(pause <= most && pause >= most / 2, "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_secs(1));
    }

    #[test]
    fn the_other_side_may_ask_for_a_longer_pause_within_limits() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let mut asked = |seconds| backoff.pause_as(Some(Duration::from_secs(seconds)));
        assert_eq!(asked(7), Duration::from_secs(7));
        assert_eq!(asked(700), Duration::from_mins(1));
    }
}
