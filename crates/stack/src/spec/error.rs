//! What is wrong with an `onspot.toml`, and where.

use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, SourceCode};
use onspot_runnerconf::Excerpt;

/// Keys whose values are never shown.
const SECRET_KEYS: [&str; 3] = ["token", "environment", "upstream"];

/// What is wrong with an `onspot.toml`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecErrorKind {
    /// The file could not be read.
    #[error("cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no such key.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The known key that is most like it.
        nearest: Option<String>,
        /// All keys that may stand there.
        known: Vec<String>,
    },
    /// The value is none of those that may stand there.
    #[error("unknown value `{value}`")]
    UnknownValue {
        /// The value as written.
        value: String,
        /// The known value that is most like it.
        nearest: Option<String>,
        /// All values that may stand there.
        known: Vec<String>,
    },
    /// A key without default is missing.
    #[error("missing key `{key}`")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// The text is not TOML, or a value has the wrong type.
    #[error("{message}")]
    Toml {
        /// What the parser said.
        message: String,
    },
    /// The value has the right type, but makes no sense.
    #[error("{what}")]
    Invalid {
        /// What is wrong, as a sentence fragment.
        what: String,
        /// What to do about it.
        hint: String,
    },
}

/// An error in an `onspot.toml`, with the line it is on where there is one.
///
/// Reported as a [`Diagnostic`], it shows that line. A line that may hold a token is never shown.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {kind}")]
pub struct SpecError {
    file: String,
    kind: Box<SpecErrorKind>,
    excerpt: Option<Box<Excerpt>>,
}

impl SpecError {
    /// What is wrong.
    pub fn kind(&self) -> &SpecErrorKind {
        &self.kind
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self.kind() {
            SpecErrorKind::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("write one with `onspot init`, or name it with --config".to_owned())
            }
            SpecErrorKind::Read { .. } => None,
            SpecErrorKind::UnknownKey { nearest, known, .. }
            | SpecErrorKind::UnknownValue { nearest, known, .. } => match nearest {
                Some(nearest) => Some(format!("did you mean `{nearest}`?")),
                None if known.is_empty() => Some("remove it".to_owned()),
                None => Some(format!("there are: {}", known.join(", "))),
            },
            SpecErrorKind::MissingKey { key } => Some(example_of(key)),
            SpecErrorKind::Toml { .. } => None,
            SpecErrorKind::Invalid { hint, .. } => Some(hint.clone()),
        }
    }

    pub(super) fn unread(path: &Path, source: std::io::Error) -> Self {
        Self {
            file: path.display().to_string(),
            kind: Box::new(SpecErrorKind::Read {
                path: path.to_owned(),
                source,
            }),
            excerpt: None,
        }
    }

    pub(super) fn new(
        kind: SpecErrorKind,
        text: &str,
        file: &str,
        at: Option<Range<usize>>,
    ) -> Self {
        let excerpt = at.map(|at| {
            // The line of a wrong value is shown; any other line may hold a secret.
            let plain = matches!(
                kind,
                SpecErrorKind::UnknownValue { .. } | SpecErrorKind::Invalid { .. }
            );
            Box::new(if plain {
                Excerpt::careful(file, text, at, &SECRET_KEYS)
            } else {
                Excerpt::blanked(file, text, at)
            })
        });
        Self {
            file: file.to_owned(),
            kind: Box::new(kind),
            excerpt,
        }
    }

    /// Parses the messages of serde and of the TOML parser, which quote the key first and then the
    /// known keys.
    pub(super) fn of_toml(error: &toml::de::Error, text: &str, file: &str) -> Self {
        let message = error.message();
        let mut quoted = quoted(message).map(str::to_owned);
        let kind = match quoted.next() {
            Some(key) if message.starts_with("unknown field") => {
                let known: Vec<_> = quoted.collect();
                SpecErrorKind::UnknownKey {
                    nearest: nearest(&key, &known),
                    key,
                    known,
                }
            }
            Some(value) if message.starts_with("unknown variant") => {
                let known: Vec<_> = quoted.collect();
                SpecErrorKind::UnknownValue {
                    nearest: nearest(&value, &known),
                    value,
                    known,
                }
            }
            Some(key) if message.starts_with("missing field") => SpecErrorKind::MissingKey { key },
            _ => value_error(message, key_at(text, error.span())),
        };
        Self::new(kind, text, file, error.span())
    }
}

/// The error of a value that its type refuses, reworded where the type's own message is not plain
/// enough.
fn value_error(message: &str, key: Option<&str>) -> SpecErrorKind {
    const PLAIN: [(&str, &str, &str); 5] = [
        (
            "duration",
            "is not a duration",
            "for example \"90s\", \"10m\" or \"1h 30m\"",
        ),
        (
            "IP address",
            "is not a range of addresses",
            "for example \"10.0.0.0/16\"",
        ),
        (
            "prefix",
            "is not a range of addresses",
            "for example \"10.0.0.0/16\"",
        ),
        (
            "URL",
            "is not an address",
            "for example \"https://gitlab.com\"",
        ),
        (
            "token",
            "",
            "write \"env:NAME\", \"file:PATH\" or \"ssm:PARAMETER\"",
        ),
    ];
    let plain = PLAIN.iter().find(|(word, ..)| message.contains(word));
    match (plain, key) {
        (Some((_, "", hint)), _) => SpecErrorKind::Invalid {
            what: message.to_owned(),
            hint: (*hint).to_owned(),
        },
        (Some((_, what, hint)), Some(key)) => SpecErrorKind::Invalid {
            what: format!("`{key}` {what}"),
            hint: (*hint).to_owned(),
        },
        _ => SpecErrorKind::Toml {
            message: without_value(message),
        },
    }
}

/// Removes the value from serde's message about a wrong type (`invalid type: string "…", expected
/// …`), because it may be a secret.
fn without_value(message: &str) -> String {
    let of_value = ["invalid type: ", "invalid value: "]
        .iter()
        .any(|head| message.starts_with(head));
    let parts = message.rsplit_once(", expected ").filter(|_| of_value);
    let Some((found, expected)) = parts else {
        return message.to_owned();
    };
    let kind = found.split(['"', '`']).next().unwrap_or(found).trim_end();
    format!("{kind}, expected {expected}")
}

/// The key whose value begins at `span`.
fn key_at(text: &str, span: Option<Range<usize>>) -> Option<&str> {
    let before = text.get(..span?.start)?;
    let line = before.rsplit('\n').next()?;
    let key = line.split_once('=')?.0.trim();
    (!key.is_empty()).then_some(key)
}

/// The parts of a message between backticks.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

/// The known word that is most like `word`, if one is alike at all.
fn nearest(word: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.clone())
}

/// An example of each key without a default.
fn example_of(key: &str) -> String {
    match key {
        "runners" => "add a [[runners]] section with name, url and token".to_owned(),
        "name" => "give the runner a name, for example name = \"docker.m3\"".to_owned(),
        "url" => "give GitLab's address, for example url = \"https://gitlab.com\"".to_owned(),
        "token" => "say where the token is, for example token = \"env:RUNNER_TOKEN\"".to_owned(),
        key => format!("add {key}"),
    }
}

impl Diagnostic for SpecError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.hint().map(|hint| Box::new(hint) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt.as_deref().map(|excerpt| excerpt as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let excerpt = self.excerpt.as_deref()?;
        Some(Box::new(std::iter::once(excerpt.label("here"))))
    }
}
