//! The states of jobs and pipelines.

use serde::{Deserialize, Serialize};

/// The state of a job or a pipeline, with GitLab's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Created, but not its turn yet.
    Created,
    /// Waits until no other job of its resource group runs.
    WaitingForResource,
    /// Waits for a runner.
    Pending,
    /// A runner has it.
    Running,
    /// Cancelled, and its runner still runs `after_script`.
    Canceling,
    /// Succeeded.
    Success,
    /// Failed.
    Failed,
    /// Cancelled, and over.
    Canceled,
    /// Never ran, because of an earlier job.
    Skipped,
    /// Waits for a person.
    Manual,
}

impl Status {
    /// Whether nothing more will happen by itself.
    pub fn is_over(self) -> bool {
        matches!(
            self,
            Self::Success | Self::Failed | Self::Canceled | Self::Skipped
        )
    }

    /// Whether a runner works on it and may write to it.
    pub fn is_with_runner(self) -> bool {
        matches!(self, Self::Running | Self::Canceling)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::WaitingForResource => "waiting_for_resource",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Canceling => "canceling",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Manual => "manual",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One job's contribution to the state of a stage or pipeline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    /// The job's state.
    pub(crate) status: Status,
    /// Its failure does not count; if it is manual, nothing waits for it.
    pub(crate) allow_failure: bool,
}

/// The state of a group of jobs: a stage, or a whole pipeline.
pub(crate) fn composite(members: &[Member]) -> Status {
    let has = |wanted: Status| members.iter().any(|one| one.status == wanted);
    // A job with an allowed failure neither counts as failed nor blocks the next stages.
    let counts = |wanted: Status| {
        let mut counting = members.iter().filter(|one| !one.allow_failure);
        counting.any(|one| one.status == wanted)
    };
    let over = members.iter().any(|one| one.status.is_over());
    let never_ran = |one: &Member| matches!(one.status, Status::Manual | Status::Skipped);
    if has(Status::Canceling) {
        Status::Canceling
    } else if has(Status::Running) || has(Status::Pending) && over {
        Status::Running
    } else if has(Status::Pending) {
        Status::Pending
    } else if has(Status::WaitingForResource) {
        Status::WaitingForResource
    } else if counts(Status::Manual) {
        Status::Manual
    } else if has(Status::Created) && (over || has(Status::Manual)) {
        // Between two stages nothing runs for a moment, but the pipeline has started.
        Status::Running
    } else if has(Status::Created) {
        Status::Created
    } else if members.iter().all(never_ran) {
        Status::Skipped
    } else if counts(Status::Failed) {
        Status::Failed
    } else if counts(Status::Canceled) {
        Status::Canceled
    } else {
        Status::Success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(statuses: &[Status]) -> Status {
        let members: Vec<_> = statuses
            .iter()
            .map(|&status| member(status, false))
            .collect();
        composite(&members)
    }

    fn member(status: Status, allow_failure: bool) -> Member {
        Member {
            status,
            allow_failure,
        }
    }

    #[test]
    fn the_state_of_a_group_follows_from_its_members() {
        use Status::{
            Canceled, Canceling, Created, Failed, Manual, Pending, Running, Skipped, Success,
            WaitingForResource,
        };
        assert_eq!(of(&[]), Skipped);
        assert_eq!(of(&[Created, Created]), Created);
        assert_eq!(of(&[Pending, Created]), Pending);
        assert_eq!(of(&[Success, Pending]), Running);
        assert_eq!(of(&[Success, Created]), Running);
        assert_eq!(of(&[Running, WaitingForResource]), Running);
        assert_eq!(
            of(&[Success, WaitingForResource, Created]),
            WaitingForResource
        );
        assert_eq!(of(&[Running, Canceling]), Canceling);
        assert_eq!(of(&[Success, Success]), Success);
        assert_eq!(of(&[Success, Failed, Skipped]), Failed);
        assert_eq!(of(&[Success, Canceled, Skipped]), Canceled);
        assert_eq!(of(&[Success, Manual]), Manual);
        assert_eq!(of(&[Success, Manual, Created]), Manual);
    }

    #[test]
    fn an_allowed_failure_does_not_count() {
        let members = [member(Status::Failed, true), member(Status::Success, false)];
        assert_eq!(composite(&members), Status::Success);
    }

    #[test]
    fn an_optional_manual_job_blocks_nothing() {
        let members = [member(Status::Manual, true), member(Status::Success, false)];
        assert_eq!(composite(&members), Status::Success);
    }
}
