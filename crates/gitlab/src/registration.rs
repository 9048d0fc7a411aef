//! Creating a runner in GitLab with a user's access token.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::token::RunnerToken;

/// Which projects a runner serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerScope {
    /// For every project of the instance; needs an administrator's token.
    Instance,
    /// For the projects of the group with this number.
    Group(u64),
    /// For the project with this number.
    Project(u64),
}

/// A runner to create (`POST /api/v4/user/runners`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRunner {
    /// Which projects it serves.
    pub scope: RunnerScope,
    /// Its description, as GitLab shows it.
    pub description: String,
    /// It takes only jobs whose tags are all among these.
    pub tags: Vec<String>,
    /// Whether it takes jobs without tags too.
    pub run_untagged: bool,
    /// Time limit of its jobs in seconds (at least 600); absent for no limit.
    pub maximum_timeout: Option<u64>,
}

/// A runner just created.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Created {
    /// Its number.
    pub id: u64,
    /// Its token, which GitLab shows only once.
    pub token: RunnerToken,
    /// When the token expires; absent if never.
    #[serde(default)]
    pub token_expires_at: Option<Timestamp>,
}

/// A runner whose token GitLab has confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Verified {
    /// The runner's number; absent if this GitLab does not send it.
    pub id: Option<u64>,
    /// When its token expires; absent if never.
    pub token_expires_at: Option<Timestamp>,
}
