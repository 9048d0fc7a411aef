//! The scripts of a job.

use serde::{Deserialize, Serialize};

use crate::null::null_as_default;

/// A script and the conditions it runs under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// `script`, `after_script`, or another that runs after `script`, such as `release`.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// The script's lines.
    #[serde(deserialize_with = "null_as_default")]
    pub script: Vec<String>,
    /// The step's own time limit in seconds; 0 means none.
    #[serde(deserialize_with = "null_as_default")]
    pub timeout: u64,
    /// Whether it runs after a success, a failure, or both.
    #[serde(deserialize_with = "null_as_default")]
    pub when: When,
    /// Whether the job may go on if this step fails.
    #[serde(deserialize_with = "null_as_default")]
    pub allow_failure: bool,
}

impl Step {
    /// The step that decides whether the job succeeds.
    pub const SCRIPT: &'static str = "script";
    /// The step that runs after the script, whatever its outcome.
    pub const AFTER_SCRIPT: &'static str = "after_script";
}

/// A script that runs around the check-out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// `pre_get_sources_script` or `post_get_sources_script`.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// The script's lines.
    #[serde(deserialize_with = "null_as_default")]
    pub script: Vec<String>,
}

impl Hook {
    /// Runs before the repository is fetched.
    pub const PRE_GET_SOURCES: &'static str = "pre_get_sources_script";
    /// Runs after the commit is checked out.
    pub const POST_GET_SOURCES: &'static str = "post_get_sources_script";
}

/// After which outcome of the script something is done: a step, an upload of artifacts, saving a
/// cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", from = "String")]
pub enum When {
    /// Only if the script succeeded. Also for an empty or unknown value.
    #[default]
    OnSuccess,
    /// Only if the script failed.
    OnFailure,
    /// In any case.
    Always,
}

impl When {
    /// Whether this applies after a successful or failed script.
    pub fn applies(self, success: bool) -> bool {
        match self {
            Self::OnSuccess => success,
            Self::OnFailure => !success,
            Self::Always => true,
        }
    }
}

impl From<String> for When {
    fn from(word: String) -> Self {
        match word.as_str() {
            "on_failure" => Self::OnFailure,
            "always" => Self::Always,
            _ => Self::OnSuccess,
        }
    }
}
