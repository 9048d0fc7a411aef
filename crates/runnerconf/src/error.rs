//! Why a file can't be used, and the place of the error.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

use crate::blank::blank_values;

/// The kinds of errors in a `config.toml`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The text is not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// Neither this version nor GitLab Runner knows the key, and it is similar to a known one.
    #[error("unknown key `{key}` in {section}")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// Its table, as written in TOML.
        section: String,
        /// The key that is probably meant.
        nearest: String,
    },
    /// The key is one of GitLab Runner's, and ignoring it would be wrong.
    #[error("`{key}` in {section} can't be honoured: {why}")]
    Refused {
        /// The key.
        key: &'static str,
        /// Its table, as written in TOML.
        section: String,
        /// Why it is refused.
        why: &'static str,
    },
    /// A required key is missing.
    #[error("missing key `{key}` in {section}")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// Its table, as written in TOML.
        section: String,
    },
    /// A value has the wrong type.
    #[error("`{key}` must be {expected}, not {found}")]
    WrongType {
        /// The key.
        key: String,
        /// The expected type, with its article.
        expected: &'static str,
        /// The actual type, with its article.
        found: &'static str,
    },
    /// A value has the right type but is invalid.
    #[error("`{key}` {reason}")]
    BadValue {
        /// The key.
        key: String,
        /// What is wrong, as the rest of a sentence that begins with the key.
        reason: String,
        /// What to write instead.
        hint: Option<String>,
    },
}

/// An error in a `config.toml`, with the line it is on.
///
/// Its text is one sentence; [`ConfigError::hint`] tells what to do; as a [`Diagnostic`] it also
/// shows the line, in which values that may be secret are blanked.
#[derive(Debug)]
pub struct ConfigError {
    kind: Box<ConfigErrorKind>,
    at: Option<Box<Excerpt>>,
}

impl ConfigError {
    pub(crate) fn new(kind: ConfigErrorKind, at: Option<Excerpt>) -> Self {
        Self {
            kind: Box::new(kind),
            at: at.map(Box::new),
        }
    }

    /// The kind of the error.
    pub fn kind(&self) -> &ConfigErrorKind {
        &self.kind
    }

    /// Its line; `None` if the file could not be read.
    pub fn excerpt(&self) -> Option<&Excerpt> {
        self.at.as_deref()
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self.kind() {
            ConfigErrorKind::UnknownKey { nearest, .. } => {
                Some(format!("did you mean `{nearest}`?"))
            }
            ConfigErrorKind::Refused { key, .. } => {
                Some(format!("remove `{key}` if jobs may run without it"))
            }
            ConfigErrorKind::Read { source, .. }
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Some("name the file with --config".to_owned())
            }
            ConfigErrorKind::MissingKey {
                key: "BucketName", ..
            } => Some("a cache in S3 needs its bucket's name".to_owned()),
            ConfigErrorKind::MissingKey {
                key: "AccessKey" | "SecretKey",
                ..
            } => Some("write both, or neither for the host's own role".to_owned()),
            ConfigErrorKind::MissingKey { .. } => {
                Some("every runner needs name, url, token and executor".to_owned())
            }
            ConfigErrorKind::BadValue { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.kind.as_ref())
    }
}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint()
            .map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.at.as_deref().map(|excerpt| excerpt as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let excerpt = self.at.as_deref()?;
        let label = match self.kind() {
            ConfigErrorKind::MissingKey { .. } => "here",
            ConfigErrorKind::UnknownKey { .. } => "unknown",
            ConfigErrorKind::Refused { .. } => "can't be honoured",
            _ => "this",
        };
        Some(Box::new(std::iter::once(excerpt.label(label))))
    }
}

/// One line of a file, in the form that an error may show.
///
/// It is its own miette source, so that an error contains neither the rest of the file nor its
/// secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    file: String,
    start: usize,
    line: usize,
    text: String,
    mark: Range<usize>,
}

impl Excerpt {
    /// The line of `text` in which the byte range `span` begins, with every value blanked, quoted
    /// or not.
    pub fn blanked(file: &str, text: &str, span: Range<usize>) -> Self {
        let mut excerpt = Self::plain(file, text, span);
        excerpt.text = blank_values(&excerpt.text);
        excerpt
    }

    /// The line unchanged, unless it contains one of the words `secret`: then it is
    /// [blanked](Self::blanked).
    pub fn careful(file: &str, text: &str, span: Range<usize>, secret: &[&str]) -> Self {
        let excerpt = Self::plain(file, text, span.clone());
        let line = excerpt.text.to_ascii_lowercase();
        let is_secret = |word: &&str| line.contains(&word.to_ascii_lowercase());
        if secret.iter().any(is_secret) {
            Self::blanked(file, text, span)
        } else {
            excerpt
        }
    }

    /// The unchanged line of `text` in which the byte range `span` begins: only for lines that
    /// cannot contain a secret.
    pub fn plain(file: &str, text: &str, span: Range<usize>) -> Self {
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..]
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        let begin = (start - line_start).min(line.len());
        let end = (span.end.max(start) - line_start).clamp(begin, line.len());
        Self {
            file: file.to_owned(),
            start,
            line: text[..line_start].matches('\n').count() + 1,
            text: line,
            mark: begin..end,
        }
    }

    /// The file's name, as given to the parser.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where in the file the marked part begins, in bytes.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// The line's number, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column of the marked part, in characters, from 1.
    pub fn column(&self) -> usize {
        let before = self.text.get(..self.mark.start).unwrap_or_default();
        before.chars().count() + 1
    }

    /// The marked part with a label.
    pub fn label(&self, text: &str) -> LabeledSpan {
        LabeledSpan::new(Some(text.to_owned()), self.mark.start, self.mark.len())
    }
}

/// `config.toml:12:5`.
impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column())
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        _span: &SourceSpan,
        _lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.clone(),
            self.text.as_bytes(),
            SourceSpan::from((0, self.text.len())),
            self.line - 1,
            self.mark.start,
            1,
        )))
    }
}

/// The candidate most similar to `word`, if one is similar enough.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&word, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= 0.85)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// The known name of which `word` is probably a misspelling: at most two letters differ, in a short
/// word one. `-` and `_` count as equal.
pub(crate) fn typo_of<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    let most = if word.chars().count() < 5 { 1 } else { 2 };
    known
        .into_iter()
        .map(|known| (strsim::osa_distance(&word, &plain(known)), known))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_differs_from_another_word() {
        let known = ["privileged", "user", "allowed_users", "tls_verify"];
        for (word, meant) in [
            ("privilaged", Some("privileged")),
            ("usr", Some("user")),
            ("tls-verfiy", Some("tls_verify")),
            ("allowed_groups", None),
            ("seed", None),
            ("isolation_level", None),
        ] {
            assert_eq!(typo_of(word, known), meant, "{word}");
        }
    }

    #[test]
    fn an_excerpt_knows_its_line_and_column() {
        let text = "a = 1\nbee = 2\n";
        let excerpt = Excerpt::plain("x.toml", text, 6..9);
        assert_eq!(excerpt.to_string(), "x.toml:2:1");
        assert_eq!(excerpt.text, "bee = 2");
        assert_eq!(excerpt.mark, 0..3);
    }

    #[test]
    fn an_excerpt_ends_with_its_line_and_at_the_end_of_the_text() {
        let text = "a = [\n1]";
        assert_eq!(Excerpt::plain("x", text, 4..8).mark, 4..5);
        assert_eq!(Excerpt::plain("x", text, 99..100).to_string(), "x:2:3");
    }

    #[test]
    fn a_line_with_a_secret_key_is_always_blanked() {
        let text = "a = { Token = 'x', b = 'y' }\nb = 'z'";
        let careful = |at| Excerpt::careful("x", text, at, &["token"]).text;
        assert_eq!(careful(4..5), "a = { ***** = '*', * = '*' }");
        assert_eq!(careful(29..30), "b = 'z'");
    }

    #[test]
    fn the_nearest_word_is_found_or_none() {
        let known = ["privileged", "volumes", "IdleCount"];
        assert_eq!(nearest("privilaged", known), Some("privileged"));
        assert_eq!(nearest("idlecont", known), Some("IdleCount"));
        assert_eq!(nearest("zzz", known), None);
    }
}
