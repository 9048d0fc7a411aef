//! `onspot check`: what becomes of each key of a config.toml.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::PathBuf;

use onspot_runnerconf::{
    Beside, ConfigError, Excerpt, FIRST, Report, ReportedKey, ReportedRunner, Standing, Warning,
    beside,
};
use serde::Serialize;

use crate::cli::{Check, Global};
use crate::failure::Failure;
use crate::output::Output;
use crate::table::table;

/// The widest line.
const WIDTH: usize = 80;

/// The report, for programs.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    file: &'a str,
    usable: bool,
    counts: Counts,
    errors: Vec<Flaw>,
    keys: &'a [ReportedKey],
    notes: &'a [Warning],
    runners: &'a [ReportedRunner],
    beside_gitlab_runner: Vec<Beside>,
    first: &'static [&'static str],
}

/// How many keys have each standing.
#[derive(Debug, Default, Serialize)]
struct Counts {
    honoured: usize,
    differ: usize,
    ignored: usize,
    refused: usize,
}

/// An error, for programs.
#[derive(Debug, Serialize)]
struct Flaw {
    error: String,
    line: Option<usize>,
    column: Option<usize>,
    hint: Option<String>,
}

impl Flaw {
    fn of(error: &ConfigError) -> Self {
        Self {
            error: error.to_string(),
            line: error.excerpt().map(Excerpt::line),
            column: error.excerpt().map(Excerpt::column),
            hint: error.hint(),
        }
    }
}

impl Counts {
    fn of(report: &Report) -> Self {
        let mut counts = Self::default();
        for key in report.all_keys() {
            match key.standing {
                Standing::Honoured => counts.honoured += 1,
                Standing::Differs(_) => counts.differ += 1,
                Standing::Ignored(_) => counts.ignored += 1,
                Standing::Refused(_) => counts.refused += 1,
            }
        }
        counts
    }
}

/// Prints the report. The exit code is 1 if onspot can't work with the file.
pub(crate) fn check(args: &Check, global: Global) -> Result<(), Failure> {
    let path = args
        .config
        .clone()
        .or_else(|| args.file.clone())
        .unwrap_or_else(|| PathBuf::from("config.toml"));
    let file = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::caused(format!("cannot read {file}"), error)
            .hint("name the file: onspot check FILE")
    })?;
    let report = onspot_runnerconf::check(&text, &file);
    let checked = Checked {
        file: &file,
        usable: report.is_usable(),
        counts: Counts::of(&report),
        errors: report.errors.iter().map(Flaw::of).collect(),
        keys: &report.keys,
        notes: &report.notes,
        runners: &report.runners,
        beside_gitlab_runner: beside(&report),
        first: &FIRST,
    };
    Output::new(global.output).result(&checked, || written(&checked))?;
    if checked.usable {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

/// The report, for people.
fn written(checked: &Checked<'_>) -> String {
    let mut text = String::new();
    for error in &checked.errors {
        put_error(&mut text, checked.file, error);
    }
    if !checked.errors.is_empty() {
        text.push('\n');
    }
    put_keys(&mut text, checked.file, "", checked.keys, checked.notes);
    for runner in checked.runners {
        let executor = match runner.executor.as_str() {
            "" => String::new(),
            executor => format!(" ({executor})"),
        };
        put_keys(
            &mut text,
            &runner.name,
            &executor,
            &runner.keys,
            &runner.notes,
        );
    }
    put_beside(&mut text, &checked.beside_gitlab_runner);
    put_wrapped(&mut text, "", &summary(checked));
    text
}

fn put_error(text: &mut String, file: &str, error: &Flaw) {
    let place = match (error.line, error.column) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        _ => file.to_owned(),
    };
    put_wrapped(text, "", &format!("{place}: error: {}", error.error));
    if let Some(hint) = &error.hint {
        put_wrapped(text, "  ", &format!("hint: {hint}"));
    }
}

/// A heading, the keys that are not honoured as a table, the honoured ones, and the notes.
fn put_keys(text: &mut String, head: &str, behind: &str, keys: &[ReportedKey], notes: &[Warning]) {
    if keys.is_empty() && notes.is_empty() {
        return;
    }
    // Writing to a string does not fail.
    let _ = writeln!(text, "{head}{behind}");
    let honoured = |key: &&ReportedKey| key.standing == Standing::Honoured;
    let rows: Vec<[String; 4]> = keys.iter().filter(|key| !honoured(key)).map(row).collect();
    if !rows.is_empty() {
        for line in table(["key", "line", "", "how or why"], &rows).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    for key in keys.iter().filter(honoured) {
        let name = key.label();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if !names.is_empty() {
        put_wrapped(text, "  ", &format!("honoured: {}", names.join(", ")));
    }
    for note in notes {
        put_wrapped(
            text,
            "  ",
            &format!("note: {}; {}", note.message, note.hint),
        );
    }
    text.push('\n');
}

fn row(key: &ReportedKey) -> [String; 4] {
    let (word, why) = match &key.standing {
        Standing::Honoured => ("honoured", ""),
        Standing::Differs(how) => ("differs", how.as_str()),
        Standing::Ignored(why) => ("ignored", why.as_str()),
        Standing::Refused(why) => ("refused", why.as_str()),
    };
    [&*key.label(), &key.line.to_string(), word, why].map(str::to_owned)
}

fn put_beside(text: &mut String, beside: &[Beside]) {
    text.push_str("beside a gitlab-runner on this host\n");
    let rows: Vec<[String; 3]> = beside
        .iter()
        .map(|each| {
            let taken = if each.taken_over { "yes: " } else { "no: " };
            [
                each.what.to_owned(),
                each.gitlab_runner.to_owned(),
                format!("{taken}{}", each.onspot_run),
            ]
        })
        .collect();
    let heads = ["", "gitlab-runner", "taken over by onspot run"];
    for line in table(heads, &rows).lines() {
        let _ = writeln!(text, "  {line}");
    }
    text.push_str("  first:\n");
    for (index, step) in FIRST.iter().enumerate() {
        let _ = writeln!(text, "  {}. {step}", index + 1);
    }
    text.push('\n');
}

fn summary(checked: &Checked<'_>) -> String {
    let Counts {
        honoured,
        differ,
        ignored,
        refused,
    } = checked.counts;
    let errors = match checked.errors.len() {
        0 => String::new(),
        1 => ", 1 error".to_owned(),
        many => format!(", {many} errors"),
    };
    let verdict = if checked.usable {
        "usable"
    } else {
        "not usable as it is"
    };
    format!(
        "{}: {verdict}; keys: {honoured} honoured, {differ} differ, {ignored} ignored, \
         {refused} refused{errors}",
        checked.file
    )
}

/// Writes words in lines, the later ones indented.
fn put_wrapped(text: &mut String, indent: &str, words: &str) {
    let mut line = indent.to_owned();
    let mut empty = true;
    for word in words.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = format!("{indent}    ");
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    text.push_str(&line);
    text.push('\n');
}
