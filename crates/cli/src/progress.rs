//! Shows progress events: spinners on a terminal, plain lines elsewhere, JSON lines for programs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anstyle::AnsiColor;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use onspot_reconcile::{EventSender, Progress, event_channel};
use tokio::task::JoinHandle;

use crate::cli::{Format, Global};
use crate::output;

/// Shows events until all their senders are gone.
#[derive(Debug)]
pub(crate) struct Shown(JoinHandle<()>);

impl Shown {
    /// Waits until everything is shown.
    pub(crate) async fn finished(self) {
        // The task ends by itself and neither panics nor is aborted.
        let _ = self.0.await;
    }
}

/// Starts showing events, but never on stdout: for verbs whose result is one JSON value.
pub(crate) fn show_aside(global: Global) -> (EventSender, Shown) {
    show(aside(global))
}

/// The same options without events on stdout.
fn aside(global: Global) -> Global {
    Global {
        output: Format::Text,
        quiet: global.quiet || global.output == Format::Json,
        ..global
    }
}

/// Starts showing events. Drop the sender, then wait for [`Shown::finished`].
pub(crate) fn show(global: Global) -> (EventSender, Shown) {
    let (sender, mut events) = event_channel();
    let mut view = View::new(global);
    let task = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            view.show(&event);
        }
        view.end();
    });
    (sender, Shown(task))
}

/// How events are shown.
enum View {
    Nothing,
    Json,
    Lines,
    Spinners {
        colour: bool,
        all: MultiProgress,
        open: BTreeMap<String, ProgressBar>,
    },
}

impl View {
    fn new(global: Global) -> Self {
        match global.output {
            Format::Json => Self::Json,
            Format::Text if global.quiet => Self::Nothing,
            Format::Text if std::io::stderr().is_terminal() => Self::Spinners {
                colour: takes_colours(),
                all: MultiProgress::new(),
                open: BTreeMap::new(),
            },
            Format::Text => Self::Lines,
        }
    }

    fn show(&mut self, event: &Progress) {
        match self {
            Self::Nothing => {}
            // An event that can't be written does not matter: the verb's own output will fail too.
            Self::Json => drop(output::json(event)),
            Self::Lines => drop(writeln!(anstream::stderr(), "{event}")),
            Self::Spinners { colour, all, open } => spin(all, open, *colour, event),
        }
    }

    fn end(&mut self) {
        if let Self::Spinners { open, .. } = self {
            for bar in std::mem::take(open).into_values() {
                bar.finish_and_clear();
            }
        }
    }
}

/// Whether stderr supports colours: it is a terminal, and `NO_COLOR` and the like are not set.
fn takes_colours() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// The mark of an end event.
fn mark(event: &Progress, colour: bool) -> String {
    let (mark, paint) = match event {
        Progress::Failed { .. } => ("✗", AnsiColor::Red),
        _ => ("✓", AnsiColor::Green),
    };
    if colour {
        format!("{0}{mark}{0:#}", paint.on_default())
    } else {
        mark.to_owned()
    }
}

fn spin(
    all: &MultiProgress,
    open: &mut BTreeMap<String, ProgressBar>,
    colour: bool,
    event: &Progress,
) {
    match event {
        Progress::Started { what } => {
            let bar = all.add(ProgressBar::new_spinner());
            let template = if colour {
                "{spinner:.cyan} {msg}"
            } else {
                "{spinner} {msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            open.insert(what.clone(), bar);
        }
        Progress::Waiting { what, why } => {
            if let Some(bar) = open.get(what) {
                bar.set_message(format!("{what}: waiting for {why}"));
            }
        }
        Progress::Done { what, .. } | Progress::Failed { what, .. } => {
            if let Some(bar) = open.remove(what) {
                bar.finish_and_clear();
            }
            // If the terminal is gone, nothing can be shown.
            let _ = all.println(format!("{} {event}", mark(event, colour)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_as_json_is_alone_on_stdout() {
        let global = |output| Global {
            output,
            quiet: false,
            verbose: 0,
        };
        assert!(matches!(View::new(global(Format::Json)), View::Json));
        let view = |output| View::new(aside(global(output)));
        assert!(matches!(view(Format::Json), View::Nothing));
        assert!(!matches!(view(Format::Text), View::Nothing | View::Json));
    }

    #[test]
    fn marks_have_colours_only_where_they_are_wanted() {
        let failed = Progress::Failed {
            what: "x".to_owned(),
            error: "no".to_owned(),
        };
        assert_eq!(mark(&failed, false), "✗");
        assert_eq!(mark(&failed, true), "\u{1b}[31m✗\u{1b}[0m");
    }
}
