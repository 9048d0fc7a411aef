//! Shows what an applying layer does: spinners on a terminal, plain lines elsewhere, JSON lines
//! for programs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use onspot_reconcile::{EventSender, Progress, event_channel};
use tokio::task::JoinHandle;

use crate::cli::{Format, Global};
use crate::output::Output;

/// Shows events until all their senders are gone.
#[derive(Debug)]
pub(crate) struct Shown(JoinHandle<()>);

impl Shown {
    /// Waits until everything is shown.
    pub(crate) async fn finished(self) {
        // It ends by itself and neither panics nor is aborted.
        let _ = self.0.await;
    }
}

/// Begins to show events. Give the sender away and wait for [`Shown::finished`] after it is
/// dropped.
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
    Json(Output),
    Lines,
    Spinners {
        all: MultiProgress,
        open: BTreeMap<String, ProgressBar>,
    },
}

impl View {
    fn new(global: Global) -> Self {
        match global.output {
            Format::Json => Self::Json(Output::new(Format::Json)),
            Format::Text if global.quiet => Self::Nothing,
            Format::Text if std::io::stderr().is_terminal() => Self::Spinners {
                all: MultiProgress::new(),
                open: BTreeMap::new(),
            },
            Format::Text => Self::Lines,
        }
    }

    fn show(&mut self, event: &Progress) {
        match self {
            Self::Nothing => {}
            // What can't be written is not missed: the verb itself will say so.
            Self::Json(output) => drop(output.json(event)),
            Self::Lines => drop(writeln!(anstream::stderr(), "{event}")),
            Self::Spinners { all, open } => spin(all, open, event),
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

fn spin(all: &MultiProgress, open: &mut BTreeMap<String, ProgressBar>, event: &Progress) {
    match event {
        Progress::Started { what } => {
            let bar = all.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg}") {
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
            let mark = match event {
                Progress::Failed { .. } => "\u{1b}[31m✗\u{1b}[0m",
                _ => "\u{1b}[32m✓\u{1b}[0m",
            };
            // A terminal that takes no line has gone.
            let _ = all.println(format!("{mark} {event}"));
        }
    }
}
