//! What becomes of each key of GitLab Runner's `config.toml`: it is honoured, or a warning names
//! it, or the file is refused.
//!
//! Taken from the `toml` tags of GitLab Runner 19.4's `common/config.go` and
//! `cache/cacheconfig/cacheconfig.go`; keys that older versions had and this one has not are
//! marked. A key that limits what a job may do is never only warned of: a job would run with more
//! authority than its owner wrote.

use toml::Value;

mod docker;
mod tables;

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does what it does in GitLab Runner.
    Honoured,
    /// It has no effect here, which is said where it is set.
    Warned(&'static str),
    /// A file in which it is set is refused.
    Refused(&'static str),
}

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) fate: Fate,
}

impl Key {
    const fn honoured(name: &'static str) -> Self {
        Self {
            name,
            fate: Fate::Honoured,
        }
    }

    const fn warned(name: &'static str, why: &'static str) -> Self {
        Self {
            name,
            fate: Fate::Warned(why),
        }
    }

    const fn refused(name: &'static str, why: &'static str) -> Self {
        Self {
            name,
            fate: Fate::Refused(why),
        }
    }
}

/// A table whose keys are known: its path (`runners.docker`, empty for the file itself) and keys.
type Table = (&'static str, &'static [Key]);

const TABLES: [Table; 10] = [
    ("", tables::FILE),
    ("runners", tables::RUNNERS),
    ("runners.docker", docker::DOCKER),
    ("runners.docker.services", docker::SERVICES),
    ("runners.cache", tables::CACHE),
    ("runners.cache.s3", tables::CACHE_S3),
    ("runners.machine", tables::MACHINE),
    ("runners.machine.autoscaling", tables::MACHINE_AUTOSCALING),
    ("runners.autoscaler", tables::AUTOSCALER),
    ("runners.autoscaler.policy", tables::AUTOSCALER_POLICY),
];

/// The keys of a table; none for a table that is not looked into.
pub(crate) fn keys(table: &str) -> &'static [Key] {
    TABLES
        .iter()
        .find(|(path, _)| *path == table)
        .map_or(&[], |(_, keys)| keys)
}

/// The key of that name, in whatever case.
pub(crate) fn key(table: &str, name: &str) -> Option<&'static Key> {
    keys(table)
        .iter()
        .find(|key| key.name.eq_ignore_ascii_case(name))
}

/// Every key of GitLab Runner's reference, with its table's path and what becomes of it here.
pub fn reference() -> impl Iterator<Item = (&'static str, &'static str, Fate)> {
    TABLES
        .iter()
        .flat_map(|(path, keys)| keys.iter().map(|key| (*path, key.name, key.fate)))
}

/// Whether a value says nothing: an empty text or list, zero, or a flag that is off.
pub(crate) fn is_unset(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Integer(number) => *number == 0,
        Value::Float(number) => *number == 0.0,
        Value::Boolean(flag) => !flag,
        Value::Array(items) => items.iter().all(is_unset),
        Value::Table(table) => table.values().all(is_unset),
        Value::Datetime(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_key_stands_in_two_lists() {
        let mut seen = BTreeSet::new();
        for (table, name, _) in reference() {
            assert!(
                seen.insert((table, name.to_ascii_lowercase())),
                "{table} {name}"
            );
        }
    }
}
