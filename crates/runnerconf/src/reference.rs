//! How each key of GitLab Runner's `config.toml` is handled: it is honoured, or causes a warning,
//! or the file is refused.
//!
//! Taken from the `toml` tags of GitLab Runner 19.4's `common/config.go` and
//! `cache/cacheconfig/cacheconfig.go`; keys that only older versions had are marked. A key that
//! limits what a job may do never causes only a warning, because a job would then have more rights
//! than configured.

use std::sync::LazyLock;

use toml::Value;

use crate::model::{self, autoscaler, cache, docker, machine, runner};

pub(crate) const NO_METRICS: &str = "onspot has metrics of its own, at `listen_address`";
pub(crate) const NO_SESSIONS: &str = "onspot has no session server for interactive terminals";
pub(crate) const OTHER_EXECUTOR: &str = "it is for an executor that onspot does not have";
pub(crate) const OWN_LOOPS: &str = "onspot has its own timing for this";
pub(crate) const NO_SSH: &str = "workers are not reached by SSH: they fetch their orders";
pub(crate) const BOOKKEEPING: &str = "onspot does not need it";

/// How a key is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It works as in GitLab Runner.
    Honoured,
    /// It has no effect here; setting it causes a warning.
    Warned(&'static str),
    /// A file that sets it is refused.
    Refused(&'static str),
}

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) fate: Fate,
}

impl Key {
    pub(crate) const fn honoured(name: &'static str) -> Self {
        Self {
            name,
            fate: Fate::Honoured,
        }
    }

    pub(crate) const fn warned(name: &'static str, why: &'static str) -> Self {
        Self {
            name,
            fate: Fate::Warned(why),
        }
    }

    pub(crate) const fn refused(name: &'static str, why: &'static str) -> Self {
        Self {
            name,
            fate: Fate::Refused(why),
        }
    }
}

/// The tables whose keys are known: path (`runners.docker`, empty for the file itself) and keys.
/// Each table's keys are defined next to the code that reads it.
static TABLES: LazyLock<[(&str, Vec<Key>); 11]> = LazyLock::new(|| {
    let with = |honoured: Vec<&'static str>, others: &[Key]| {
        let honoured = honoured.into_iter().map(Key::honoured);
        honoured.chain(others.iter().copied()).collect()
    };
    [
        ("", model::KEYS.to_vec()),
        ("runners", with(runner::honoured(), runner::OTHERS)),
        (
            "runners.custom_build_dir",
            runner::KEYS_OF_BUILD_DIR.to_vec(),
        ),
        ("runners.docker", with(docker::honoured(), docker::OTHERS)),
        (
            "runners.docker.services",
            with(docker::honoured_of_services(), docker::OTHERS_OF_SERVICES),
        ),
        ("runners.cache", cache::KEYS.to_vec()),
        ("runners.cache.s3", cache::KEYS_OF_S3.to_vec()),
        ("runners.machine", machine::KEYS.to_vec()),
        (
            "runners.machine.autoscaling",
            machine::KEYS_OF_PERIODS.to_vec(),
        ),
        ("runners.autoscaler", autoscaler::KEYS.to_vec()),
        (
            "runners.autoscaler.policy",
            autoscaler::KEYS_OF_POLICIES.to_vec(),
        ),
    ]
});

/// The keys of a table; empty for an unchecked table.
pub(crate) fn keys(table: &str) -> &'static [Key] {
    TABLES
        .iter()
        .find(|(path, _)| *path == table)
        .map_or(&[], |(_, keys)| keys)
}

/// The key of that name, ignoring case.
pub(crate) fn key(table: &str, name: &str) -> Option<&'static Key> {
    keys(table)
        .iter()
        .find(|key| key.name.eq_ignore_ascii_case(name))
}

/// Every key of GitLab Runner's reference, with its table's path and how it is handled.
pub fn reference() -> impl Iterator<Item = (&'static str, &'static str, Fate)> {
    TABLES
        .iter()
        .flat_map(|(path, keys)| keys.iter().map(|key| (*path, key.name, key.fate)))
}

/// Whether a value counts as unset: an empty text or list, zero, or false.
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
    fn no_key_is_in_two_lists() {
        let mut seen = BTreeSet::new();
        for (table, name, _) in reference() {
            assert!(
                seen.insert((table, name.to_ascii_lowercase())),
                "{table} {name}"
            );
        }
    }
}
