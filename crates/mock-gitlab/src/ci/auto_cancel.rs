//! `workflow:auto_cancel`: automatic cancellation of pipelines.

use super::error::CiError;
use super::read::Node;

/// When a pipeline is cancelled automatically.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AutoCancel {
    pub(crate) on_new_commit: OnNewCommit,
    /// As soon as one job has failed.
    pub(crate) on_job_failure: bool,
}

/// What a newer pipeline of the same ref does to an older one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OnNewCommit {
    /// Cancels it, unless a job that is not interruptible has started.
    #[default]
    Conservative,
    /// Cancels its interruptible jobs.
    Interruptible,
    /// Nothing.
    None,
}

pub(super) fn read(node: &Node<'_>) -> Result<AutoCancel, CiError> {
    node.only_keys(&["on_new_commit", "on_job_failure"])?;
    let word = |key: &str, words: &[&str]| {
        let Some(value) = node.get(key) else {
            return Ok(0);
        };
        let at = words.iter().position(|word| value.value == word);
        at.ok_or_else(|| node.error(format!("{key} must be one of: {}", words.join(", "))))
    };
    Ok(AutoCancel {
        on_new_commit: match word("on_new_commit", &["conservative", "interruptible", "none"])? {
            0 => OnNewCommit::Conservative,
            1 => OnNewCommit::Interruptible,
            _ => OnNewCommit::None,
        },
        on_job_failure: word("on_job_failure", &["none", "all"])? == 1,
    })
}
