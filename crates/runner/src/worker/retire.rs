//! When a worker shuts itself down: no leader is left that would terminate it, or it is too old.
//!
//! This keeps abandoned workers from costing money. A leader renews `run/leader` every few seconds;
//! a worker without jobs that has not seen it change for long is of no use.

use std::fmt;
use std::time::Duration;

use onspot_ledger::{ETag, Key, Ledger};
use onspot_settings::Timing;

/// The longest pause between two looks at the leader.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// The longest that one look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(20);

/// Why a worker shuts itself down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// It has seen no leader for this long.
    NoLeader(Duration),
    /// Its machine has run for this long.
    Age(Duration),
}

impl fmt::Display for Retirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeader(silent) => {
                write!(f, "no manager was heard for {} min", silent.as_secs() / 60)
            }
            Self::Age(age) => write!(f, "its machine has run for {} h", age.as_secs() / 3600),
        }
    }
}

/// Watches the leader.
#[derive(Debug)]
pub(super) struct Listener {
    version: Option<ETag>,
    heard_at: Duration,
    looked_at: Option<Duration>,
}

impl Listener {
    /// Begins to watch at `steady`.
    pub(super) fn new(steady: Duration) -> Self {
        Self {
            version: None,
            heard_at: steady,
            looked_at: None,
        }
    }

    /// Looks at the leader's object if it is time to.
    ///
    /// A new version shows that somebody renews it, even if this program can't read the content. A
    /// failed look counts as one without a new version.
    pub(super) async fn look(&mut self, ledger: &dyn Ledger, timing: &Timing, steady: Duration) {
        let pause = (timing.leaderless / 10).min(LOOK_AGAIN);
        let due = |last: Duration| steady.saturating_sub(last) >= pause;
        if !self.looked_at.is_none_or(due) {
            return;
        }
        self.looked_at = Some(steady);
        let key = Key::leader();
        match tokio::time::timeout(LOOK_LIMIT, ledger.get(key.as_str())).await {
            Ok(Ok(found)) => self.heard(found.map(|(_, version)| version), steady),
            Ok(Err(error)) => tracing::warn!(%error, "the leader's object can't be read"),
            Err(_elapsed) => tracing::warn!("the leader's object could not be read in time"),
        }
    }

    fn heard(&mut self, version: Option<ETag>, steady: Duration) {
        if version.is_some() && version != self.version {
            self.version = version;
            self.heard_at = steady;
        }
    }

    /// Whether the worker should retire, at `steady` since its machine booted. A worker that has
    /// jobs finishes them without a leader.
    pub(super) fn verdict(
        &self,
        timing: &Timing,
        has_jobs: bool,
        steady: Duration,
    ) -> Option<Retirement> {
        let silent = steady.saturating_sub(self.heard_at);
        if steady >= timing.max_age {
            return Some(Retirement::Age(steady));
        }
        (silent >= timing.leaderless && !has_jobs).then_some(Retirement::NoLeader(silent))
    }
}

#[cfg(test)]
mod tests {
    use onspot_ledger::{Condition, MemoryLedger};

    use super::*;

    fn minutes(minutes: u64) -> Duration {
        Duration::from_mins(minutes)
    }

    /// Looks every minute, while the leader renews until `renewed`.
    async fn listen(renewed: u64, until: u64) -> Listener {
        let (ledger, timing) = (MemoryLedger::new(), Timing::default());
        let mut listener = Listener::new(Duration::ZERO);
        let key = Key::leader();
        for minute in 0..=until {
            if minute <= renewed {
                ledger.delete(key.as_str()).await.unwrap();
                let body = minute.to_string().into_bytes();
                let put = ledger.put_if(key.as_str(), body, Condition::Absent);
                put.await.unwrap();
            }
            listener.look(&ledger, &timing, minutes(minute)).await;
        }
        listener
    }

    #[tokio::test]
    async fn an_idle_worker_goes_after_a_quarter_of_an_hour_without_a_leader() {
        let timing = Timing::default();
        let listener = listen(5, 20).await;
        assert_eq!(listener.verdict(&timing, false, minutes(19)), None);
        let gone = listener.verdict(&timing, false, minutes(20));
        assert_eq!(gone, Some(Retirement::NoLeader(minutes(15))));
        assert_eq!(
            listener.verdict(&timing, true, minutes(20)),
            None,
            "it has jobs"
        );
    }

    #[tokio::test]
    async fn a_worker_whose_leader_renews_stays_and_goes_at_last_when_it_is_too_old() {
        let timing = Timing::default();
        let listener = listen(60, 60).await;
        assert_eq!(listener.verdict(&timing, false, minutes(60)), None);
        let old = timing.max_age;
        assert_eq!(
            listener.verdict(&timing, true, old),
            Some(Retirement::Age(old))
        );
    }

    #[tokio::test]
    async fn a_ledger_that_does_not_answer_is_no_leader() {
        let timing = Timing::default();
        let listener = Listener::new(Duration::ZERO);
        let gone = listener.verdict(&timing, false, minutes(15));
        assert_eq!(gone, Some(Retirement::NoLeader(minutes(15))));
    }
}
