//! How many helpers wait for the next jobs: at least one, and as many as jobs ran concurrently in
//! recent time. Pure: the time is a parameter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The period that counts as recent.
pub(super) const LATELY: Duration = Duration::from_mins(10);

/// How many jobs ran concurrently, and until when.
#[derive(Debug, Default)]
pub(super) struct Demand {
    busy: usize,
    /// Earlier numbers, each with the time when it changed.
    earlier: VecDeque<(Instant, usize)>,
}

impl Demand {
    /// A job starts.
    pub(super) fn begins(&mut self, now: Instant) {
        self.changes(now, self.busy + 1);
    }

    /// A job has ended.
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

    /// How many helpers should wait. They belong to the lowest slots, which are used first.
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
    fn as_many_helpers_wait_as_jobs_ran_recently_but_at_least_one() {
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
    fn consecutive_jobs_need_one_helper() {
        let (mut demand, start) = (Demand::default(), Instant::now());
        for second in 0..100 {
            demand.begins(start + Duration::from_secs(2 * second));
            demand.ends(start + Duration::from_secs(2 * second + 1));
        }
        assert_eq!(demand.wanted(start + Duration::from_secs(200)), 1);
    }
}
