//! The error for a malformed text.

/// A text that is not in the required notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {flaw}")]
pub struct Malformed {
    text: String,
    flaw: String,
    hint: String,
}

impl Malformed {
    pub(crate) fn new(text: &str, flaw: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            text: text.to_owned(),
            flaw: flaw.into(),
            hint: hint.into(),
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong, as the rest of a sentence that begins with the text: `is no size`.
    pub fn flaw(&self) -> &str {
        &self.flaw
    }

    /// What to write instead.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}
