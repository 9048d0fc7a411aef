//! The errors of verbs: one sentence, the causes, a hint, and the exit code.

mod sources;

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use crate::cli::Format;

/// A verb that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    what: What,
    exit: Exit,
}

/// The exit codes besides 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The verb failed.
    Failed = 1,
    /// The usage was wrong.
    Usage = 2,
    /// A person ended it; the code is the shells' for Ctrl-C.
    Interrupted = 130,
}

#[derive(Debug)]
enum What {
    /// An error and its hint.
    Error {
        error: Box<dyn Error + Send + Sync>,
        hint: Option<String>,
    },
    /// An error that can show its line.
    Diagnostic(Box<dyn Diagnostic + Send + Sync>),
    /// Everything has been said already.
    Silent,
}

/// One sentence with an optional cause.
#[derive(Debug)]
struct Sentence {
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl std::fmt::Display for Sentence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Sentence {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

impl Failure {
    /// The verb failed.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::because(text, None)
    }

    /// The usage was wrong.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(text)
        }
    }

    /// A person ended it.
    pub(crate) fn interrupted(text: impl Into<String>) -> Self {
        Self {
            exit: Exit::Interrupted,
            ..Self::new(text)
        }
    }

    /// The verb failed, and everything about it has been said already.
    pub(crate) fn silent() -> Self {
        Self {
            what: What::Silent,
            exit: Exit::Failed,
        }
    }

    /// The verb failed because of another error.
    pub(crate) fn caused(
        text: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::because(text, Some(source.into()))
    }

    /// Any error, with a hint.
    pub(crate) fn hinted(error: impl Error + Send + Sync + 'static, hint: Option<String>) -> Self {
        Self {
            what: What::Error {
                error: Box::new(error),
                hint,
            },
            exit: Exit::Failed,
        }
    }

    /// An error that can show its line and has its own hint.
    pub(crate) fn shown(diagnostic: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self {
            what: What::Diagnostic(Box::new(diagnostic)),
            exit: Exit::Failed,
        }
    }

    /// Adds a hint.
    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        if let What::Error { hint, .. } = &mut self.what {
            *hint = Some(text.into());
        }
        self
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    fn because(text: impl Into<String>, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        let error = Box::new(Sentence {
            text: text.into(),
            source,
        });
        Self {
            what: What::Error { error, hint: None },
            exit: Exit::Failed,
        }
    }

    /// Prints it to stderr, coloured where supported.
    pub(crate) fn print(&self, format: Format) {
        let text = match (format, &self.what) {
            (_, What::Silent) => return,
            (Format::Json, _) => format!("{}\n", self.to_json()),
            (Format::Text, What::Diagnostic(diagnostic)) => drawn(diagnostic.as_ref()),
            (Format::Text, What::Error { error, hint }) => written(error.as_ref(), hint.as_deref()),
        };
        // If stderr is closed, nobody can be told.
        let _ = anstream::stderr().write_all(text.as_bytes());
    }

    fn to_json(&self) -> serde_json::Value {
        let (error, hint): (&dyn Error, _) = match &self.what {
            What::Silent => return serde_json::Value::Null,
            What::Diagnostic(diagnostic) => (
                diagnostic.as_ref(),
                diagnostic.help().map(|help| help.to_string()),
            ),
            What::Error { error, hint } => (error.as_ref(), hint.clone()),
        };
        serde_json::json!({
            "error": error.to_string(),
            "causes": causes(error),
            "hint": hint,
        })
    }
}

/// One line with all causes, for the log.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error: &dyn Error = match &self.what {
            What::Silent => return Ok(()),
            What::Diagnostic(diagnostic) => diagnostic.as_ref(),
            What::Error { error, .. } => error.as_ref(),
        };
        write!(f, "{error}")?;
        causes(error)
            .iter()
            .try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// Generic texts of the AWS SDK's errors. Our own errors already contain the service's message.
const SDK_ERRORS: [&str; 5] = [
    "failed to construct request",
    "request has timed out",
    "dispatch failure",
    "response error",
    "service error",
];

/// The texts of all causes, without repetitions. Of the AWS SDK's long chains only the end is
/// shown.
fn causes(error: &dyn Error) -> Vec<String> {
    let mut said = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let mut text = cause.to_string();
        next = cause.source();
        if SDK_ERRORS.contains(&text.as_str()) {
            while let Some(deeper) = next.take() {
                text = deeper.to_string();
                next = deeper.source();
            }
            text.truncate(text.find('\n').unwrap_or(text.len()));
            // The text ended by introducing lines that were cut off.
            if text.ends_with(':') {
                text.truncate(text.rfind(". ").unwrap_or(text.len()));
            }
        }
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
    }
    said.split_off(1)
}

fn written(error: &dyn Error, hint: Option<&str>) -> String {
    let (red, cyan, off) = (
        anstyle::AnsiColor::Red.on_default().bold(),
        anstyle::AnsiColor::Cyan.on_default(),
        anstyle::Reset,
    );
    let mut text = format!("{red}error{off}: {error}\n");
    for cause in causes(error) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  caused by: {cause}");
    }
    for (index, line) in hint.into_iter().flat_map(str::lines).enumerate() {
        let head = if index == 0 { "hint:" } else { "     " };
        let _ = writeln!(text, "  {cyan}{head}{off} {line}");
    }
    text
}

/// The error with its line, but without the lines around it, which may contain secrets.
fn drawn(diagnostic: &dyn Diagnostic) -> String {
    let theme = if console_is_dumb() {
        GraphicalTheme::none()
    } else {
        GraphicalTheme::unicode()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(80)
        .with_context_lines(0);
    let mut text = String::new();
    match handler.render_report(&mut text, diagnostic) {
        Ok(()) => text,
        Err(_) => written(diagnostic, None),
    }
}

/// Whether stderr supports no colours.
fn console_is_dumb() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) == anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_not_repeated() {
        let inner = Failure::caused("cannot read x: gone", std::io::Error::other("gone"));
        let What::Error { error, .. } = inner.what else {
            unreachable!("an error was given")
        };
        assert!(causes(error.as_ref()).is_empty());
        let outer = Sentence {
            text: "no".into(),
            source: Some(error),
        };
        assert_eq!(causes(&outer), ["cannot read x: gone"]);
    }

    #[test]
    fn hints_have_one_head() {
        let sentence = Sentence {
            text: "no".into(),
            source: None,
        };
        let text = written(&sentence, Some("one\ntwo"));
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "error: no\n  hint: one\n        two\n");
    }
}
