//! Identifiers that keys are made of.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text unchanged.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A `[[runners]]` section's name.
    RunnerName
}
name! {
    /// One start of a manager process: each start has its own.
    ManagerId
}
name! {
    /// One start of a worker's agent: each start has its own.
    BootId
}
name! {
    /// A worker's identity in IAM: `aws:userid`, which is `<role id>:<instance id>`.
    WorkerId
}

impl ManagerId {
    /// A new id that begins with `name` (an instance id or a host name) for readability.
    pub fn random(name: &str) -> Self {
        Self(format!(
            "{name}/{}",
            &uuid::Uuid::new_v4().simple().to_string()[..8]
        ))
    }
}

impl BootId {
    /// A new id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

impl WorkerId {
    /// The id of the instance with this role.
    pub fn of(role_id: &str, instance: &str) -> Self {
        Self(format!("{role_id}:{instance}"))
    }

    /// The instance's id, which people know the worker by.
    pub fn instance(&self) -> &str {
        self.0
            .rsplit_once(':')
            .map_or(self.as_str(), |(_, instance)| instance)
    }
}

/// A job in the ledger: GitLab's number and the `[[runners]]` section that received it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// Which `[[runners]]` received the job.
    pub runner: RunnerName,
    /// GitLab's number of the job.
    pub id: u64,
}

impl JobKey {
    /// The key of job `id` of `runner`.
    pub fn new(runner: &RunnerName, id: u64) -> Self {
        Self {
            runner: runner.clone(),
            id,
        }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.runner, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_id_contains_its_instance() {
        let worker = WorkerId::of("AROAEXAMPLE", "i-0123");
        assert_eq!(worker.as_str(), "AROAEXAMPLE:i-0123");
        assert_eq!(worker.instance(), "i-0123");
    }
}
