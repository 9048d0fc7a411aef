//! Variables as GitLab sends them to runners.

use serde::{Deserialize, Serialize};

/// A CI/CD variable with GitLab's flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether everybody may see it.
    #[serde(default)]
    pub public: bool,
    /// Whether traces must not show it.
    #[serde(default)]
    pub masked: bool,
    /// Whether the job gets the value as a file, and the file's path in the variable.
    #[serde(default)]
    pub file: bool,
    /// Whether references in the value are not expanded.
    #[serde(default)]
    pub raw: bool,
}

impl Variable {
    /// A variable that everybody may see.
    pub fn public(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            public: true,
            masked: false,
            file: false,
            raw: false,
        }
    }

    /// A variable that is not shown and is masked in traces.
    pub fn secret(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            public: false,
            masked: true,
            ..Self::public(key, value)
        }
    }
}
