//! Tables with user-defined keys.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::Section;
use crate::error::ConfigError;

impl Section<'_> {
    /// A table of strings; empty if the key is missing.
    pub(crate) fn map(
        &mut self,
        key: &'static str,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        self.table(key, "a table of strings", |value| match value {
            DeValue::String(text) => Ok(text.into_owned()),
            other => Err(other),
        })
    }

    /// A table of flags; empty if the key is missing.
    pub(crate) fn flags(
        &mut self,
        key: &'static str,
    ) -> Result<BTreeMap<String, bool>, ConfigError> {
        self.table(key, "a table of booleans", |value| match value {
            DeValue::Boolean(set) => Ok(set),
            other => Err(other),
        })
    }

    /// A table whose values `read` takes, or gives back if they have another type.
    fn table<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl for<'a> Fn(DeValue<'a>) -> Result<T, DeValue<'a>>,
    ) -> Result<BTreeMap<String, T>, ConfigError> {
        let Some(section) = self.section(key)? else {
            return Ok(BTreeMap::new());
        };
        let mut map = BTreeMap::new();
        for (name, value) in section.entries {
            let span = value.span();
            let value = read(value.into_inner());
            let value = value.map_err(|other| self.wrong_type(key, expected, &other, span))?;
            map.insert(name.into_inner().into_owned(), value);
        }
        Ok(map)
    }

    /// A table of lists of strings; empty if the key is missing.
    pub(crate) fn lists(
        &mut self,
        key: &'static str,
    ) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
        let Some(section) = self.section(key)? else {
            return Ok(BTreeMap::new());
        };
        let expected = "a table of lists of strings";
        let mut map = BTreeMap::new();
        for (name, value) in section.entries {
            let span = value.span();
            let items = match value.into_inner() {
                DeValue::Array(items) => items,
                other => return Err(self.wrong_type(key, expected, &other, span)),
            };
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                let span = item.span();
                match item.into_inner() {
                    DeValue::String(text) => list.push(text.into_owned()),
                    other => return Err(self.wrong_type(key, expected, &other, span)),
                }
            }
            map.insert(name.into_inner().into_owned(), list);
        }
        Ok(map)
    }
}
