//! The states of jobs and pipelines.

use serde::{Deserialize, Serialize};

/// Where a job or a pipeline is in its life, by GitLab's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Made, but its turn has not come.
    Created,
    /// Waits until no other job of its resource group runs.
    WaitingForResource,
    /// Waits for a runner.
    Pending,
    /// A runner has it.
    Running,
    /// Cancelled, and its runner still runs `after_script`.
    Canceling,
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
    /// Cancelled, and over.
    Canceled,
    /// Never ran, because of what happened before it.
    Skipped,
    /// Waits for a person.
    Manual,
}

impl Status {
    /// Nothing more will happen by itself.
    pub fn is_over(self) -> bool {
        matches!(
            self,
            Self::Success | Self::Failed | Self::Canceled | Self::Skipped
        )
    }

    /// A runner works on it, and may write to it.
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

/// One job's part in the state of a stage or pipeline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// The job's state.
    pub(super) status: Status,
    /// Its failure does not count, and as a manual job it holds nobody up.
    pub(super) allow_failure: bool,
}

/// The state of a group of jobs: a stage, or a whole pipeline.
pub(super) fn composite(members: &[Member]) -> Status {
    let count = |wanted: &dyn Fn(&Member) -> bool| members.iter().filter(|m| wanted(m)).count();
    let has = |wanted: Status| members.iter().any(|member| member.status == wanted);
    let over = count(&|m| m.status.is_over());
    let optional_manual = count(&|m| m.status == Status::Manual && m.allow_failure);
    if members.is_empty() {
        return Status::Skipped;
    }
    if has(Status::Canceling) {
        return Status::Canceling;
    }
    if has(Status::Running) {
        return Status::Running;
    }
    if has(Status::Pending) {
        return if over > 0 {
            Status::Running
        } else {
            Status::Pending
        };
    }
    if has(Status::WaitingForResource) {
        return Status::WaitingForResource;
    }
    if has(Status::Created) {
        // Between two stages nothing runs for a moment, yet the whole has begun.
        return if over + optional_manual > 0 && !has_blocker(members) {
            Status::Running
        } else if has_blocker(members) {
            Status::Manual
        } else {
            Status::Created
        };
    }
    if has_blocker(members) {
        return Status::Manual;
    }
    if members.iter().all(|m| m.status == Status::Skipped) {
        return Status::Skipped;
    }
    if members
        .iter()
        .all(|m| matches!(m.status, Status::Manual | Status::Skipped))
    {
        return Status::Skipped;
    }
    if members
        .iter()
        .any(|m| m.status == Status::Failed && !m.allow_failure)
    {
        return Status::Failed;
    }
    if members
        .iter()
        .any(|m| m.status == Status::Canceled && !m.allow_failure)
    {
        return Status::Canceled;
    }
    Status::Success
}

/// A manual job that the following stages wait for.
fn has_blocker(members: &[Member]) -> bool {
    members
        .iter()
        .any(|m| m.status == Status::Manual && !m.allow_failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(statuses: &[Status]) -> Status {
        let members: Vec<_> = statuses
            .iter()
            .map(|&status| Member {
                status,
                allow_failure: false,
            })
            .collect();
        composite(&members)
    }

    #[test]
    fn a_group_is_as_its_members_are() {
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
        let members = [
            Member {
                status: Status::Failed,
                allow_failure: true,
            },
            Member {
                status: Status::Success,
                allow_failure: false,
            },
        ];
        assert_eq!(composite(&members), Status::Success);
    }

    #[test]
    fn an_optional_manual_job_holds_nobody_up() {
        let members = [
            Member {
                status: Status::Manual,
                allow_failure: true,
            },
            Member {
                status: Status::Success,
                allow_failure: false,
            },
        ];
        assert_eq!(composite(&members), Status::Success);
    }
}
