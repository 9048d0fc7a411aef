//! What becomes of each key of a `config.toml`: whether it is honoured, differs, is ignored or is
//! refused, and why.

use std::borrow::Cow;
use std::ops::Range;

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Excerpt};
use crate::lint::{Warning, lint};
use crate::model::Config;
use crate::reference;
use crate::section::{Source, to_value};

mod beside;
mod mend;
mod standing;

pub use beside::{Beside, FIRST, beside};
pub use standing::Standing;

/// Codes of the warnings that only repeat a key's standing.
const OF_KEYS: [&str; 4] = [
    "no-effect",
    "unknown-key",
    "unknown-feature-flag",
    "executor",
];

/// What becomes of a `config.toml`.
#[derive(Debug)]
pub struct Report {
    /// All errors that were found.
    pub errors: Vec<ConfigError>,
    /// The keys outside of any runner.
    pub keys: Vec<ReportedKey>,
    /// What should be changed in the file as a whole.
    pub notes: Vec<Warning>,
    /// The runners, in the file's order.
    pub runners: Vec<ReportedRunner>,
    /// The settings, without what is wrong in the file; `None` if it can't be read at all.
    pub config: Option<Config>,
}

/// What becomes of a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedRunner {
    /// Its name, or its place if it has none.
    pub name: String,
    /// Its executor as written.
    pub executor: String,
    /// Its keys that are set, in the file's order.
    pub keys: Vec<ReportedKey>,
    /// What should be changed although it works.
    pub notes: Vec<Warning>,
}

/// What becomes of a key. Its value is not in here, because it may be secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedKey {
    /// Its table, for example `runners.docker`; empty for the file itself.
    pub table: String,
    /// The key; an option in `MachineOptions` is a key of the table `runners.machine.MachineOptions`.
    pub key: String,
    /// Its line, from 1.
    pub line: usize,
    /// Whether its value counts as not set: 0, false, or empty.
    #[serde(skip)]
    pub is_unset: bool,
    /// What becomes of it.
    #[serde(flatten)]
    pub standing: Standing,
}

impl ReportedKey {
    /// The key for people: with its table, unless that is one whose keys are known by themselves.
    pub fn label(&self) -> Cow<'_, str> {
        match self.table.strip_prefix("runners.") {
            None | Some("docker" | "machine" | "feature_flags" | "machine.MachineOptions") => {
                (&*self.key).into()
            }
            Some(table) => format!("{table}.{}", self.key).into(),
        }
    }
}

impl Report {
    /// Every key, those of the file first.
    pub fn all_keys(&self) -> impl Iterator<Item = &ReportedKey> {
        let of_runners = self.runners.iter().flat_map(|runner| &runner.keys);
        self.keys.iter().chain(of_runners)
    }

    /// Whether onspot can work with the file as it is.
    pub fn is_usable(&self) -> bool {
        let refused = |key: &ReportedKey| matches!(key.standing, Standing::Refused(_));
        self.errors.is_empty() && !self.all_keys().any(refused)
    }
}

/// Checks a `config.toml`. `file` is its name, for errors.
pub fn check(text: &str, file: &str) -> Report {
    check_with(text, file, |name| std::env::var(name).ok())
}

fn check_with(text: &str, file: &str, variable: fn(&str) -> Option<String>) -> Report {
    let source = Source {
        file,
        text,
        variable,
    };
    let table = match source.table() {
        Ok(table) => table,
        Err(error) => return Report::unread(error),
    };
    let (mut errors, config) = mend::read(source, table.clone());
    errors.sort_by_key(|error| error.excerpt().map(Excerpt::start));
    let warnings = config.as_ref().map(lint).unwrap_or_default();
    let mut notes: Vec<_> = warnings
        .into_iter()
        .filter(|w| !OF_KEYS.contains(&w.code))
        .collect();
    let walk = Walk {
        text,
        file,
        errors: &errors,
    };
    let mut keys = Vec::new();
    let mut runners = Vec::new();
    for (key, value) in table.get_ref() {
        match value.get_ref() {
            DeValue::Array(items) if is(key, "runners") => {
                let tables = items.iter().filter_map(|item| match item.get_ref() {
                    DeValue::Table(table) => Some(table),
                    _ => None,
                });
                runners.extend(
                    tables
                        .enumerate()
                        .map(|(index, table)| walk.runner(index, table)),
                );
            }
            _ => walk.key("", key, value, "", &mut keys),
        }
    }
    keys.sort_by_key(|key| key.line);
    for runner in &mut runners {
        let of_runner = |note: &Warning| note.runner.as_deref() == Some(&runner.name);
        let (its, others) = notes.into_iter().partition(of_runner);
        runner.notes = its;
        notes = others;
    }
    // Those of a runner whose name was wrong have no runner here.
    notes.retain(|note| note.runner.is_none());
    Report {
        errors,
        keys,
        notes,
        runners,
        config,
    }
}

impl Report {
    fn unread(error: ConfigError) -> Self {
        Self {
            errors: vec![error],
            keys: Vec::new(),
            notes: Vec::new(),
            runners: Vec::new(),
            config: None,
        }
    }
}

fn is(key: &Spanned<std::borrow::Cow<'_, str>>, name: &str) -> bool {
    key.get_ref().eq_ignore_ascii_case(name)
}

/// Walks the tables of a file.
#[derive(Debug, Clone, Copy)]
struct Walk<'a> {
    text: &'a str,
    file: &'a str,
    errors: &'a [ConfigError],
}

impl Walk<'_> {
    fn runner(&self, index: usize, table: &DeTable<'_>) -> ReportedRunner {
        let text = |name: &str| {
            let found = table.iter().find(|(key, _)| is(key, name));
            match found.map(|(_, value)| value.get_ref()) {
                Some(DeValue::String(text)) => Some(text.clone().into_owned()),
                _ => None,
            }
        };
        let executor = text("executor").unwrap_or_default();
        let mut keys = Vec::new();
        self.table("runners", table, &executor, &mut keys);
        keys.sort_by_key(|key| key.line);
        ReportedRunner {
            name: text("name").unwrap_or_else(|| format!("runner {}", index + 1)),
            executor,
            keys,
            notes: Vec::new(),
        }
    }

    fn table(&self, path: &str, table: &DeTable<'_>, executor: &str, found: &mut Vec<ReportedKey>) {
        for (key, value) in table {
            self.key(path, key, value, executor, found);
        }
    }

    /// One key; in place of a table that has keys of its own, these.
    fn key(
        &self,
        path: &str,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        executor: &str,
        found: &mut Vec<ReportedKey>,
    ) {
        let known = reference::key(path, key.get_ref()).map(|key| key.name);
        let name = known.unwrap_or(key.get_ref());
        let below = match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let has_keys = !reference::keys(&below).is_empty();
        match value.get_ref() {
            DeValue::Table(table) if has_keys || standing::has_entries(&below) => {
                return self.table(&below, table, executor, found);
            }
            DeValue::Array(items) if has_keys => {
                for item in items {
                    if let DeValue::Table(table) = item.get_ref() {
                        self.table(&below, table, executor, found);
                    }
                }
                return;
            }
            DeValue::Array(items) if below == standing::OPTIONS => {
                return found.extend(items.iter().filter_map(|item| self.option(item)));
            }
            _ => {}
        }
        let plain = to_value(value.get_ref().clone());
        let standing = match self.wrong(&[key.span(), value.span()]) {
            Some(wrong) => Standing::Refused(wrong),
            None => match standing::of(path, name, &plain, executor) {
                Some(standing) => standing,
                None => return,
            },
        };
        found.push(ReportedKey {
            table: path.to_owned(),
            key: name.to_owned(),
            line: self.line(key.span()),
            is_unset: reference::is_unset(&plain),
            standing,
        });
    }

    /// One of `MachineOptions`: its name, without its value.
    fn option(&self, item: &Spanned<DeValue<'_>>) -> Option<ReportedKey> {
        let DeValue::String(text) = item.get_ref() else {
            return None;
        };
        let name = text.split('=').next().unwrap_or_default();
        let standing = match self.wrong(&[item.span()]) {
            Some(wrong) => Standing::Refused(wrong),
            None => standing::of_option(name),
        };
        (!name.is_empty()).then(|| ReportedKey {
            table: standing::OPTIONS.to_owned(),
            key: name.to_owned(),
            line: self.line(item.span()),
            is_unset: false,
            standing,
        })
    }

    /// The error at one of these places.
    fn wrong(&self, places: &[Range<usize>]) -> Option<String> {
        let at = |error: &&ConfigError| {
            let start = error.excerpt().map(Excerpt::start);
            start.is_some_and(|start| places.iter().any(|place| place.contains(&start)))
        };
        self.errors.iter().find(at).map(ToString::to_string)
    }

    fn line(&self, span: Range<usize>) -> usize {
        Excerpt::plain(self.file, self.text, span).line()
    }
}

#[cfg(test)]
mod tests;
