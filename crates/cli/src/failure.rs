//! How a verb fails: one sentence, its causes, what to do, and the exit code.

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

/// The exit codes beside 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did not work.
    Failed = 1,
    /// It was asked for wrongly.
    Usage = 2,
    /// A person ended it, as shells count that.
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
    /// Nothing is left to be said.
    Silent,
}

/// One sentence, an optional cause.
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
    /// It did not work.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::because(text, None)
    }

    /// It was asked for wrongly.
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

    /// It did not work, and all about it has been said.
    pub(crate) fn silent() -> Self {
        Self {
            what: What::Silent,
            exit: Exit::Failed,
        }
    }

    /// It did not work because of another error.
    pub(crate) fn caused(
        text: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::because(text, Some(source.into()))
    }

    /// Any error, with what to do about it.
    pub(crate) fn hinted(error: impl Error + Send + Sync + 'static, hint: Option<String>) -> Self {
        Self {
            what: What::Error {
                error: Box::new(error),
                hint,
            },
            exit: Exit::Failed,
        }
    }

    /// An error that can show its line and knows what to do.
    pub(crate) fn shown(diagnostic: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self {
            what: What::Diagnostic(Box::new(diagnostic)),
            exit: Exit::Failed,
        }
    }

    /// The same with what to do about it.
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

    /// Prints it to stderr, in colour where that is wanted.
    pub(crate) fn print(&self, format: Format) {
        let text = match (format, &self.what) {
            (_, What::Silent) => return,
            (Format::Json, _) => format!("{}\n", self.to_json()),
            (Format::Text, What::Diagnostic(diagnostic)) => drawn(diagnostic.as_ref()),
            (Format::Text, What::Error { error, hint }) => written(error.as_ref(), hint.as_deref()),
        };
        // Where stderr is closed nobody can be told any more.
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

/// What the AWS SDK calls its errors, whatever they are about. Our own errors have said the
/// service's words by then.
const SDK_ERRORS: [&str; 5] = [
    "failed to construct request",
    "request has timed out",
    "dispatch failure",
    "response error",
    "service error",
];

/// The texts of all causes; one that was said already is left out. Of the AWS SDK's long chains
/// only the end is told.
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
            // What introduces the lines that were cut off.
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

/// The error with its line. Lines around it stay hidden: they may hold secrets.
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

/// Whether stderr takes no colours.
fn console_is_dumb() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) == anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once() {
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
