//! All errors of a file instead of the first one: what is wrong is taken out, and the rest is read
//! again.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::error::{ConfigError, ConfigErrorKind, Excerpt};
use crate::model::Config;
use crate::section::Source;

/// More errors than anybody reads at once.
const MOST: usize = 50;

/// Reads a file as far as it can be read: its errors, and the settings without what is wrong.
pub(super) fn read<'d>(
    source: Source<'d>,
    mut table: Spanned<DeTable<'d>>,
) -> (Vec<ConfigError>, Option<Config>) {
    let mut errors = Vec::new();
    while errors.len() < MOST {
        let error = match Config::read(source.section(table.clone())) {
            Ok(config) => return (errors, Some(config)),
            Err(error) => error,
        };
        let mended = mend(table.get_mut(), &error, errors.len());
        errors.push(error);
        if !mended {
            break;
        }
    }
    (errors, None)
}

/// Takes out what an error is about; false if it is not found.
fn mend(table: &mut DeTable<'_>, error: &ConfigError, number: usize) -> bool {
    let Some(start) = error.excerpt().map(Excerpt::start) else {
        return false;
    };
    match error.kind() {
        ConfigErrorKind::MissingKey { key, .. } => supply(table, key, start, number),
        _ => take_out(table, start, number),
    }
}

/// A value for a key that every runner needs.
fn stand_in<'d>(key: &str, number: usize) -> Option<DeValue<'d>> {
    let value = match key {
        // No name that a file has, and none that the report gives to a nameless runner.
        "name" => Cow::Owned(format!("\u{0}{number}")),
        "url" => Cow::Borrowed("https://gitlab.invalid"),
        "token" => Cow::Borrowed("env:TOKEN"),
        "executor" => Cow::Borrowed("docker"),
        _ => return None,
    };
    Some(DeValue::String(value))
}

/// Gives the table that begins at `start` the missing key, or removes the table.
fn supply(table: &mut DeTable<'_>, key: &'static str, start: usize, number: usize) -> bool {
    let begins = |value: &Spanned<DeValue<'_>>| {
        value.span().start == start && matches!(value.get_ref(), DeValue::Table(_))
    };
    let here = table
        .iter()
        .find(|(_, value)| begins(value))
        .map(|(name, _)| name.clone());
    if let Some(name) = here {
        return table.remove(&name).is_some();
    }
    table.iter_mut().any(|(_, value)| match value.get_mut() {
        DeValue::Table(inner) => supply(inner, key, start, number),
        DeValue::Array(items) => {
            if let Some(at) = items.iter().position(begins) {
                let item = items.get_mut(at).map(Spanned::get_mut);
                match (item, stand_in(key, number)) {
                    (Some(DeValue::Table(inner)), Some(value)) => {
                        let key = Spanned::new(start..start, Cow::Borrowed(key));
                        inner.insert(key, Spanned::new(start..start, value));
                    }
                    _ => remove(items, at),
                }
                return true;
            }
            items.iter_mut().any(|item| match item.get_mut() {
                DeValue::Table(inner) => supply(inner, key, start, number),
                _ => false,
            })
        }
        _ => false,
    })
}

/// Removes the innermost key, or item of a list, at `start`.
fn take_out(table: &mut DeTable<'_>, start: usize, number: usize) -> bool {
    let inner = table.iter_mut().any(|(_, value)| match value.get_mut() {
        DeValue::Table(inner) => take_out(inner, start, number),
        DeValue::Array(items) => take_out_of_list(items, start, number),
        _ => false,
    });
    if inner {
        return true;
    }
    let found = table
        .iter()
        .find(|(name, value)| name.span().contains(&start) || value.span().contains(&start))
        .map(|(name, _)| name.clone());
    let Some(name) = found else { return false };
    match (stand_in(name.get_ref(), number), table.get_mut(&name)) {
        (Some(value), Some(place)) => *place = Spanned::new(start..start, value),
        _ => drop(table.remove(&name)),
    }
    true
}

fn take_out_of_list(items: &mut DeArray<'_>, start: usize, number: usize) -> bool {
    let inner = items.iter_mut().any(|item| match item.get_mut() {
        DeValue::Table(inner) => take_out(inner, start, number),
        _ => false,
    });
    if inner {
        return true;
    }
    let at = items.iter().position(|item| {
        !matches!(item.get_ref(), DeValue::Table(_)) && item.span().contains(&start)
    });
    at.map(|at| remove(items, at)).is_some()
}

fn remove(items: &mut DeArray<'_>, at: usize) {
    let old = std::mem::replace(items, DeArray::new());
    for (index, item) in old.into_iter().enumerate() {
        if index != at {
            items.push(item);
        }
    }
}
