//! The length of the lease and the intervals of all loops. The defaults are the protocol's; a test
//! world uses shorter ones.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The protocol's clocks, written as `"10s"` or `"2m"` in TOML.
///
/// Rule 8 assumes that clocks differ by less than half the margin between `lease` and `takeover`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// A worker renews its lease by writing its state this often.
    #[serde(with = "crate::duration")]
    pub heartbeat: Duration,
    /// After this long without a renewal, a worker freezes its jobs until it can renew again and
    /// still owns them.
    #[serde(with = "crate::duration")]
    pub lease: Duration,
    /// The leader takes a worker's jobs over after this much silence.
    #[serde(with = "crate::duration")]
    pub takeover: Duration,
    /// A manager takes the lead when the leader's object did not change for this long.
    #[serde(with = "crate::duration")]
    pub leader: Duration,
    /// A worker reads its order this often.
    #[serde(with = "crate::duration")]
    pub order_poll: Duration,
    /// The leader reads the ledger this often.
    #[serde(with = "crate::duration")]
    pub round: Duration,
    /// The leader looks at EC2 this often.
    #[serde(with = "crate::duration")]
    pub watch: Duration,
    /// A worker looks for its interruption this often.
    #[serde(with = "crate::duration")]
    pub interruption_poll: Duration,
    /// A worker gives its jobs up this long before it is interrupted.
    #[serde(with = "crate::duration")]
    pub give_up: Duration,
    /// The leader asks GitLab for a waiting job's state this often, so this is how late it notices
    /// a cancel.
    #[serde(with = "crate::duration")]
    pub waiting_probe: Duration,
    /// A worker that has not written its state this long after its launch is replaced.
    #[serde(with = "crate::duration")]
    pub boot: Duration,
    /// A worker without jobs that has seen no leader for this long shuts itself down, so that
    /// nobody pays for workers whose manager is gone.
    #[serde(with = "crate::duration")]
    pub leaderless: Duration,
    /// A worker whose machine has run for this long takes no more jobs and shuts itself down.
    #[serde(with = "crate::duration")]
    pub max_age: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            lease: Duration::from_mins(2),
            takeover: Duration::from_mins(3),
            leader: Duration::from_secs(15),
            order_poll: Duration::from_secs(2),
            round: Duration::from_secs(2),
            watch: Duration::from_secs(5),
            interruption_poll: Duration::from_secs(2),
            give_up: Duration::from_secs(25),
            waiting_probe: Duration::from_secs(10),
            boot: Duration::from_mins(10),
            leaderless: Duration::from_mins(15),
            max_age: Duration::from_hours(7 * 24),
        }
    }
}

/// Two timings that can't hold together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shorter} = {is:?} must be shorter than {longer} = {limit:?}, {why}")]
pub struct TimingError {
    shorter: &'static str,
    is: Duration,
    longer: &'static str,
    limit: Duration,
    why: &'static str,
}

impl Timing {
    /// Checks that the timings fit together.
    ///
    /// # Errors
    ///
    /// [`TimingError`] names the first two timings that contradict each other.
    pub fn check(&self) -> Result<(), TimingError> {
        let pairs = [
            (
                ("heartbeat", self.heartbeat * 3),
                ("lease", self.lease),
                "three times over, or one lost answer holds jobs up",
            ),
            (
                ("lease", self.lease),
                ("takeover", self.takeover),
                "or two workers may run one job",
            ),
            (
                ("leader", self.leader * 2),
                ("leaderless", self.leaderless),
                "twice over, or workers end while another manager takes the lead",
            ),
            (
                ("boot", self.boot),
                ("max_age", self.max_age),
                "or no worker ever takes a job",
            ),
        ];
        let zero = ("zero", Duration::ZERO);
        let rests = [
            (("heartbeat", self.heartbeat), "or a worker never rests"),
            (("order_poll", self.order_poll), "or a worker never rests"),
            (
                ("interruption_poll", self.interruption_poll),
                "or a worker never rests",
            ),
            (("round", self.round), "or the leader never rests"),
            (("watch", self.watch), "or the leader never rests"),
            (
                ("waiting_probe", self.waiting_probe),
                "or the leader never rests",
            ),
            (("leader", self.leader), "or every manager takes the lead"),
        ];
        let rests = rests.map(|(longer, why)| (zero, longer, why));
        for ((shorter, is), (longer, limit), why) in pairs.into_iter().chain(rests) {
            if is >= limit {
                return Err(TimingError {
                    shorter,
                    is,
                    longer,
                    limit,
                    why,
                });
            }
        }
        Ok(())
    }

    /// How often the leader renews its lead: a third of the time after which others take over.
    pub fn leader_renewal(&self) -> Duration {
        (self.leader / 3).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together() {
        Timing::default().check().unwrap();
    }

    #[test]
    fn a_lease_that_outlives_the_takeover_is_refused() {
        let timing = Timing {
            lease: Duration::from_secs(200),
            ..Timing::default()
        };
        assert!(
            timing
                .check()
                .unwrap_err()
                .to_string()
                .starts_with("lease = 200s must be shorter")
        );
    }

    #[test]
    fn workers_that_do_not_wait_for_the_next_leader_are_refused() {
        let timing = Timing {
            leaderless: Duration::from_secs(20),
            ..Timing::default()
        };
        let error = timing.check().unwrap_err().to_string();
        assert!(error.contains("leaderless"), "{error}");
    }

    #[test]
    fn what_never_rests_is_refused() {
        let zeros: [fn(&mut Timing) -> &mut Duration; 7] = [
            |timing| &mut timing.heartbeat,
            |timing| &mut timing.order_poll,
            |timing| &mut timing.round,
            |timing| &mut timing.leader,
            |timing| &mut timing.watch,
            |timing| &mut timing.waiting_probe,
            |timing| &mut timing.interruption_poll,
        ];
        for zero in zeros {
            let mut timing = Timing::default();
            *zero(&mut timing) = Duration::ZERO;
            let error = timing.check().unwrap_err().to_string();
            assert!(
                error.contains("never rest") || error.contains("lead"),
                "{error}"
            );
        }
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        let timing: Timing = toml::from_str("lease = '40s'\ntakeover = '1m'").unwrap();
        assert_eq!(timing.lease, Duration::from_secs(40));
        assert_eq!(timing.takeover, Duration::from_mins(1));
        assert_eq!(timing.heartbeat, Duration::from_secs(10));
    }
}
