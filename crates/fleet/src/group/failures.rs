//! Counts failed launches of managers and decides when to give up.

use std::collections::BTreeSet;

use aws_sdk_autoscaling::types::{Activity, ScalingActivityStatusCode};

/// How many launches must fail for the same reason before the failure counts as final.
const ENOUGH: usize = 3;

/// The failed launches so far that have the same reason as the latest.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Why the latest launch failed, in AWS's words.
    pub(super) reason: Option<String>,
    activities: BTreeSet<String>,
}

impl Failures {
    /// Notes what the group did last.
    pub(super) fn note(&mut self, activity: Option<Activity>) {
        let Some(activity) = activity else { return };
        let failed = activity.status_code == Some(ScalingActivityStatusCode::Failed);
        let Some(reason) = activity.status_message.filter(|_| failed) else {
            return;
        };
        if self.reason.as_ref() != Some(&reason) {
            self.activities.clear();
            self.reason = Some(reason);
        }
        self.activities.extend(activity.activity_id);
    }

    /// Whether there are so many that the next launch will fail too.
    pub(super) fn are_enough(&self) -> bool {
        self.activities.len() >= ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(id: &str, why: &str) -> Activity {
        Activity::builder()
            .activity_id(id)
            .status_code(ScalingActivityStatusCode::Failed)
            .status_message(why)
            .build()
    }

    #[test]
    fn three_launches_that_fail_alike_are_enough() {
        let mut failures = Failures::default();
        for id in ["1", "1", "2", "2"] {
            failures.note(Some(failed(id, "no capacity")));
        }
        failures.note(None);
        assert!(!failures.are_enough());
        failures.note(Some(failed("3", "no permission")));
        assert_eq!(failures.reason.as_deref(), Some("no permission"));
        failures.note(Some(failed("4", "no permission")));
        assert!(!failures.are_enough());
        failures.note(Some(failed("5", "no permission")));
        assert!(failures.are_enough());
    }
}
