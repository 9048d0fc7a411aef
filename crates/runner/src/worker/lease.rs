//! The lease (rule 8): no job runs on a worker that could not renew it in time.

use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;

/// The longest sleep, because timers stop while the host is suspended, but the clock does not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long the lease runs, and how often it has ended before it was renewed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Term {
    /// Its end, on the steady clock; zero before it was ever stored.
    until: Duration,
    /// How often it had ended already when it was renewed.
    lapses: u64,
}

impl Term {
    /// The lease when a renewal was answered at `now`.
    pub(crate) fn renewed(self, until: Duration, now: Duration) -> Self {
        let lapsed = !self.until.is_zero() && !self.holds(now);
        Self {
            until,
            lapses: self.lapses + u64::from(lapsed),
        }
    }

    /// Whether it holds.
    pub(crate) fn holds(self, now: Duration) -> bool {
        now < self.until
    }

    /// How often it has ended so far; the jobs had to be frozen each time.
    pub(crate) fn lapses(self, now: Duration) -> u64 {
        self.lapses + u64::from(!self.holds(now))
    }
}

/// Waits for the lease's end.
#[derive(Debug)]
pub(crate) struct Lease {
    term: watch::Receiver<Term>,
    clock: Clock,
    /// The lapses that were already reported.
    told: u64,
}

impl Lease {
    pub(crate) fn new(term: watch::Receiver<Term>, clock: Clock) -> Self {
        let told = term.borrow().lapses;
        Self { term, clock, told }
    }

    /// Returns when the lease ends: once for each lapse, even if the lease was renewed before
    /// anybody looked.
    pub(crate) async fn ended(&mut self) {
        loop {
            let term = *self.term.borrow_and_update();
            let now = self.clock.steady();
            let lapses = term.lapses(now);
            if lapses > self.told {
                self.told = lapses;
                tracing::error!("the lease has ended: it could not be renewed in time");
                return;
            }
            let pause = if term.holds(now) {
                term.until.saturating_sub(now).min(LOOK_AGAIN)
            } else {
                Duration::MAX
            };
            tokio::select! {
                changed = self.term.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_is_told_once_and_again_after_a_renewal() {
        let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
        let first = Term::default().renewed(Duration::from_mins(2), Duration::ZERO);
        let (renew, terms) = watch::channel(first);
        let mut lease = Lease::new(terms, clock.clone());
        lease.ended().await;
        assert_eq!(clock.steady(), Duration::from_mins(2));
        let again = tokio::time::timeout(Duration::from_mins(1), lease.ended()).await;
        assert!(again.is_err());
        renew.send_modify(|term| *term = term.renewed(Duration::from_mins(5), clock.steady()));
        lease.ended().await;
        assert_eq!(clock.steady(), Duration::from_mins(5));
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_told_even_if_the_lease_was_renewed_before_anybody_looked() {
        let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
        let first = Term::default().renewed(Duration::from_mins(2), Duration::ZERO);
        let (renew, terms) = watch::channel(first);
        let mut lease = Lease::new(terms, clock.clone());
        tokio::time::advance(Duration::from_secs(130)).await;
        renew.send_modify(|term| *term = term.renewed(Duration::from_secs(250), clock.steady()));
        lease.ended().await;
        assert_eq!(clock.steady(), Duration::from_secs(130));
        assert_eq!(renew.borrow().lapses(clock.steady()), 1);
        let again = tokio::time::timeout(Duration::from_mins(1), lease.ended()).await;
        assert!(again.is_err());
    }
}
