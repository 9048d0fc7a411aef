//! How often a refused token is sent to GitLab again: a few tries, then long pauses.
//!
//! GitLab counts refused requests by address and blocks an address after a few of them, which
//! affects all managers and workers behind the same NAT.

use std::time::Duration;

/// This many tries follow soon after the first refusal, because it may come from a broken proxy.
const SOON: u32 = 2;
/// The first pause after a refusal; it doubles.
const FIRST: Duration = Duration::from_secs(1);
/// The first pause after those tries; it doubles up to [`LONGEST`].
const LONG: Duration = Duration::from_mins(5);
/// The longest pause.
const LONGEST: Duration = Duration::from_hours(1);

/// The refusals in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Refusals(u32);

impl Refusals {
    /// The pause after one more refusal.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let before = self.0;
        self.0 = before.saturating_add(1);
        match before.checked_sub(SOON) {
            None => FIRST * 2u32.pow(before),
            Some(later) => (LONG * 2u32.pow(later.min(8))).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_token_is_tried_a_few_times_and_then_rarely() {
        let mut refusals = Refusals::default();
        let pauses: Vec<u64> = (0..8).map(|_| refusals.next_pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 300, 600, 1200, 2400, 3600, 3600]);
    }
}
