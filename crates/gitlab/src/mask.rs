//! Masks secrets in traces.
//!
//! A trace arrives in pieces, and a secret may cross their borders. So the end of a piece is held
//! back only while it may be the beginning of a secret; everything else passes at once. The result
//! does not depend on how the text is cut.
//!
//! Three kinds of secrets are masked, one after the other, as in GitLab Runner: known values
//! (`[MASKED]` replaces the whole value), tokens with a known prefix (`glpat-[MASKED]`), and known
//! parameters in URLs (`X-Amz-Signature=[MASKED]`).

mod scan;
mod value;

use std::fmt;

use crate::Error;
use scan::Scanner;
use value::{after_parameter, after_prefix};

/// Replaces a secret in a trace.
pub const MASK: &str = "[MASKED]";

/// Prefixes of GitLab's own tokens, which are masked in every trace
/// (docs.gitlab.com/security/tokens, "Token prefixes").
const TOKEN_PREFIXES: [&str; 14] = [
    "glpat-",
    "gloas-",
    "gldt-",
    "glrt-",
    "glcbt-",
    "glrtr-",
    "glptt-",
    "glft-",
    "glimt-",
    "glagent-",
    "glsoat-",
    "glffct-",
    "gltok-",
    "_gitlab_session=",
];

/// Parameters of URLs whose values are secrets.
const PARAMETERS: [&str; 6] = [
    "private_token",
    "authenticity_token",
    "rss_token",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
];

/// Replaces secrets in a text that arrives in pieces.
pub struct Masker {
    stages: [Stage; 3],
}

impl Masker {
    /// Masks these values wherever they occur; of overlapping ones the leftmost, of those with the
    /// same beginning the longest. Empty values are ignored.
    ///
    /// # Errors
    /// [`Error::Masks`] if there are far too many.
    pub fn new<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Result<Self, Error> {
        Self::with_token_prefixes(values, &[])
    }

    /// Masks these values, and the tokens after these prefixes and after those of GitLab's own
    /// tokens.
    ///
    /// # Errors
    /// See [`Masker::new`].
    pub fn with_token_prefixes<V: AsRef<[u8]>>(
        values: impl IntoIterator<Item = V>,
        prefixes: &[String],
    ) -> Result<Self, Error> {
        let values = values.into_iter().map(|value| value.as_ref().to_vec());
        let prefixes = prefixes.iter().map(String::as_str).chain(TOKEN_PREFIXES);
        let parameters = PARAMETERS
            .iter()
            .flat_map(|name| [format!("?{name}="), format!("&{name}=")]);
        let values = Scanner::new(values)?;
        let prefixes = Scanner::new(prefixes.map(|prefix| prefix.as_bytes().to_vec()))?;
        let parameters = Scanner::ignoring_case(parameters.map(String::into_bytes))?;
        Ok(Self {
            stages: [
                Stage::new(values, Hides::Match),
                Stage::new(prefixes, Hides::Following(after_prefix)),
                Stage::new(parameters, Hides::Following(after_parameter)),
            ],
        })
    }

    /// Masks these values too from here on, including in the text held back so far.
    ///
    /// # Errors
    /// See [`Masker::new`]. The masker is then unchanged.
    pub fn add<V: AsRef<[u8]>>(
        &mut self,
        values: impl IntoIterator<Item = V>,
    ) -> Result<(), Error> {
        let [known, _, _] = &mut self.stages;
        let values = values.into_iter().map(|value| value.as_ref().to_vec());
        known.scanner = Scanner::new(known.scanner.patterns().iter().cloned().chain(values))?;
        Ok(())
    }

    /// The same masks for another text.
    #[must_use]
    pub fn anew(&self) -> Self {
        let [values, prefixes, parameters] = &self.stages;
        let stages = [values, prefixes, parameters]
            .map(|stage| Stage::new(stage.scanner.clone(), stage.hides));
        Self { stages }
    }

    /// Takes the next piece and returns what can be shown by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.stages
            .iter_mut()
            .fold(piece.to_vec(), |text, stage| stage.pass(text, false))
    }

    /// Returns the text held back; nothing may follow.
    pub fn finish(&mut self) -> Vec<u8> {
        self.stages
            .iter_mut()
            .fold(Vec::new(), |text, stage| stage.pass(text, true))
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values to mask must not be shown.
        f.debug_struct("Masker").finish_non_exhaustive()
    }
}

/// What is masked when a pattern is found.
#[derive(Clone, Copy)]
enum Hides {
    /// The pattern itself.
    Match,
    /// The bytes after it for which the function is true.
    Following(fn(u8) -> bool),
}

/// One kind of secrets.
struct Stage {
    scanner: Scanner,
    hides: Hides,
    /// The end of the text so far, which may be the beginning of a pattern.
    held: Vec<u8>,
    /// Set while the text is inside a value that follows a pattern; `Some(true)` once its mask is
    /// written.
    inside: Option<bool>,
}

impl Stage {
    fn new(scanner: Scanner, hides: Hides) -> Self {
        Self {
            scanner,
            hides,
            held: Vec::new(),
            inside: None,
        }
    }

    /// Takes the next piece and returns what can be shown by now; `last` if no other follows.
    fn pass(&mut self, piece: Vec<u8>, last: bool) -> Vec<u8> {
        let text = if self.held.is_empty() {
            piece
        } else {
            let mut text = std::mem::take(&mut self.held);
            text.extend_from_slice(&piece);
            text
        };
        let openings = if last {
            Vec::new()
        } else {
            self.scanner.openings(&text)
        };
        let mut shown = Vec::with_capacity(text.len());
        let mut at = self.skip_value(&text, 0, &mut shown);
        loop {
            // From here on the text may be the beginning of an incomplete pattern.
            let free = openings[openings.partition_point(|opening| *opening < at)..]
                .first()
                .copied()
                .unwrap_or(text.len());
            match self.scanner.find(&text, at) {
                Some(found) if found.start < free => {
                    shown.extend_from_slice(&text[at..found.start]);
                    at = found.end;
                    match self.hides {
                        Hides::Match => shown.extend_from_slice(MASK.as_bytes()),
                        Hides::Following(_) => {
                            shown.extend_from_slice(&text[found]);
                            self.inside = Some(false);
                            at = self.skip_value(&text, at, &mut shown);
                        }
                    }
                }
                _ => {
                    shown.extend_from_slice(&text[at..free]);
                    self.held = text[free..].to_vec();
                    return shown;
                }
            }
        }
    }

    /// Skips the bytes of a value that begins or continues at `at`, and returns its end.
    fn skip_value(&mut self, text: &[u8], at: usize, shown: &mut Vec<u8>) -> usize {
        let (Some(masked), Hides::Following(belongs)) = (self.inside, self.hides) else {
            return at;
        };
        let end = text[at..]
            .iter()
            .position(|b| !belongs(*b))
            .map_or(text.len(), |n| at + n);
        if end > at && !masked {
            shown.extend_from_slice(MASK.as_bytes());
        }
        self.inside = if end < text.len() {
            None
        } else {
            Some(masked || end > at)
        };
        end
    }
}
