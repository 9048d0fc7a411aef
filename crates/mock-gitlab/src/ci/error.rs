//! What is wrong with a configuration.

/// Why a `.gitlab-ci.yml` is invalid, in GitLab's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CiError {
    /// Not YAML, or not a mapping.
    #[error("(<unknown>): {0}")]
    Syntax(String),
    /// A part of it is wrong.
    #[error("{place} {problem}")]
    Config { place: String, problem: String },
}

impl CiError {
    pub(super) fn at(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Config {
            place: place.into(),
            problem: problem.into(),
        }
    }
}
