//! How many helpers wait for the next jobs: one, and as many as were busy at once lately. Pure:
//! the time comes from outside.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What counts as lately.
pub(super) const LATELY: Duration = Duration::from_mins(10);

/// How many jobs ran at once, and until when.
#[derive(Debug, Default)]
pub(super) struct Demand {
    busy: usize,
    /// Earlier numbers, each with the moment when it changed.
    earlier: VecDeque<(Instant, usize)>,
}

impl Demand {
    /// A job begins.
    pub(super) fn begins(&mut self, now: Instant) {
        self.changes(now, self.busy + 1);
    }

    /// A job is over.
    pub(super) fn ends(&mut self, now: Instant) {
        self.changes(now, self.busy.saturating_sub(1));
    }

    fn changes(&mut self, now: Instant, busy: usize) {
        self.forget(now);
        self.earlier.push_back((now, self.busy));
        self.busy = busy;
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |until: Instant| now.saturating_duration_since(until) >= LATELY;
        while self
            .earlier
            .front()
            .is_some_and(|&(until, _)| is_old(until))
        {
            self.earlier.pop_front();
        }
    }

    /// How many helpers are to wait. They are those of the lowest slots, which are taken first.
    pub(super) fn wanted(&mut self, now: Instant) -> usize {
        self.forget(now);
        let most = self.earlier.iter().map(|&(_, busy)| busy).max();
        most.unwrap_or(0).max(self.busy).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_helper_waits_and_as_many_as_were_busy_at_once_lately() {
        let (mut demand, start) = (Demand::default(), Instant::now());
        let minute = |minutes: u64| start + Duration::from_mins(minutes);
        assert_eq!(demand.wanted(minute(0)), 1, "however many slots there are");
        demand.begins(minute(0));
        assert_eq!(demand.wanted(minute(0)), 1);
        demand.begins(minute(1));
        demand.begins(minute(1));
        assert_eq!(demand.wanted(minute(1)), 3);
        demand.ends(minute(2));
        demand.ends(minute(2));
        assert_eq!(
            demand.wanted(minute(11)),
            3,
            "three were busy 9 minutes ago"
        );
        assert_eq!(demand.wanted(minute(12)), 1);
        demand.ends(minute(30));
        assert_eq!(demand.wanted(minute(39)), 1);
        assert_eq!(demand.wanted(minute(60)), 1);
    }

    #[test]
    fn a_job_that_runs_for_hours_still_counts() {
        let (mut demand, start) = (Demand::default(), Instant::now());
        demand.begins(start);
        demand.begins(start);
        assert_eq!(demand.wanted(start + Duration::from_hours(5)), 2);
    }

    #[test]
    fn jobs_after_one_another_want_one_helper() {
        let (mut demand, start) = (Demand::default(), Instant::now());
        for second in 0..100 {
            demand.begins(start + Duration::from_secs(2 * second));
            demand.ends(start + Duration::from_secs(2 * second + 1));
        }
        assert_eq!(demand.wanted(start + Duration::from_secs(200)), 1);
    }
}
