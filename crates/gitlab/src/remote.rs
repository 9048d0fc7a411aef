//! A job's status in GitLab.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A job's status in GitLab, as far as its trace's session knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remote {
    /// It runs.
    #[default]
    Running,
    /// It was canceled: the script must stop, `after_script` still runs, the trace continues.
    Canceling,
    /// It was canceled, and is over.
    Canceled,
    /// It is over, or never existed.
    Gone,
    /// Somebody else writes its trace: this session no longer owns it.
    Superseded,
}

impl Remote {
    /// Whether nothing more can be written.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Canceled | Self::Gone | Self::Superseded)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "it runs",
            Self::Canceling => "it is being canceled",
            Self::Canceled => "it was canceled",
            Self::Gone => "it is over",
            Self::Superseded => "somebody else writes it",
        })
    }
}
