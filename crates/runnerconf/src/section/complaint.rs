//! What is wrong with a value.

use onspot_notation::Malformed;

use crate::error::nearest;

/// What is wrong with a value, and what to write instead.
#[derive(Debug)]
pub(crate) struct Complaint {
    /// The rest of a sentence that begins with the key.
    pub(crate) reason: String,
    /// What to write instead.
    pub(crate) hint: Option<String>,
}

impl Complaint {
    /// Without a hint.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
        }
    }

    /// Adds a hint.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The complaint about a word that is not allowed.
    pub(crate) fn none_of(word: &str, allowed: &[&str]) -> Self {
        let hint = match nearest(word, allowed.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("use one of {}", allowed.join(", ")),
        };
        Self::new(format!("is `{word}`, which is not known")).with_hint(hint)
    }
}

impl From<Malformed> for Complaint {
    fn from(malformed: Malformed) -> Self {
        Self::new(format!(
            "is `{}`, which {}",
            malformed.text(),
            malformed.flaw()
        ))
        .with_hint(malformed.hint())
    }
}
