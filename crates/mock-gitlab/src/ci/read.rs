//! Reads untyped YAML, with errors that name the place.

use serde_json::{Map, Value};

use super::error::CiError;

/// GitLab allows scripts nested in lists up to this depth.
const MAX_NESTING: usize = 10;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Value,
    pub(super) place: String,
}

impl<'a> Node<'a> {
    pub(super) fn new(value: &'a Value, place: impl Into<String>) -> Self {
        Self {
            value,
            place: place.into(),
        }
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> CiError {
        CiError::at(&self.place, problem)
    }

    /// The value under `key`; a null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Node::new(value, format!("{}:{key}", self.place)))
    }

    /// The value under `key` converted by `read`, if it is set.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Node<'a>) -> Result<T, CiError>,
    ) -> Result<Option<T>, CiError> {
        self.get(key).map(|value| read(&value)).transpose()
    }

    /// The required value under `key`.
    pub(super) fn required(&self, key: &str) -> Result<Node<'a>, CiError> {
        let missing = || self.error(format!("config missing required keys: {key}"));
        self.get(key).ok_or_else(missing)
    }

    /// The value as shown in errors: a string without quotes.
    pub(super) fn shown(&self) -> String {
        match self.value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// The value as a mapping.
    pub(super) fn mapping(&self) -> Result<&'a Map<String, Value>, CiError> {
        self.value
            .as_object()
            .ok_or_else(|| self.error("config should be a hash"))
    }

    /// A string; numbers as they are written.
    pub(super) fn string(&self) -> Result<String, CiError> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(self.error("config should be a string")),
        }
    }

    /// `true` or `false`, or another word for it in YAML 1.1.
    pub(super) fn boolean(&self) -> Result<bool, CiError> {
        match self.value {
            Value::Bool(flag) => Ok(*flag),
            Value::String(word) if matches!(word.as_str(), "yes" | "on") => Ok(true),
            Value::String(word) if matches!(word.as_str(), "no" | "off") => Ok(false),
            _ => Err(self.error("config should be a boolean value")),
        }
    }

    pub(super) fn integer(&self) -> Result<i64, CiError> {
        self.value
            .as_i64()
            .ok_or_else(|| self.error("config should be an integer"))
    }

    /// The members of a list.
    pub(super) fn list(&self) -> Result<Vec<Node<'a>>, CiError> {
        let members = self
            .value
            .as_array()
            .ok_or_else(|| self.error("config should be an array"))?;
        Ok(members
            .iter()
            .map(|member| Node::new(member, self.place.clone()))
            .collect())
    }

    /// A list of strings.
    pub(super) fn strings(&self) -> Result<Vec<String>, CiError> {
        if !self.value.is_array() {
            return Err(self.error("config should be an array of strings"));
        }
        self.list()?.iter().map(Node::string).collect()
    }

    /// A string, or a list of strings.
    pub(super) fn string_or_strings(&self) -> Result<Vec<String>, CiError> {
        if self.value.is_array() {
            self.strings()
        } else {
            Ok(vec![self.string()?])
        }
    }

    /// Lines of a script: a string, or nested lists of strings.
    pub(super) fn script(&self) -> Result<Vec<String>, CiError> {
        let mut lines = Vec::new();
        self.collect_script(&mut lines, 0)?;
        Ok(lines)
    }

    fn collect_script(&self, lines: &mut Vec<String>, depth: usize) -> Result<(), CiError> {
        let wrong = "config should be a string or a nested array of strings up to 10 levels deep";
        match self.value {
            Value::String(line) => lines.push(line.clone()),
            Value::Array(_) if depth < MAX_NESTING => {
                for member in self.list()? {
                    member.collect_script(lines, depth + 1)?;
                }
            }
            _ => return Err(self.error(wrong)),
        }
        Ok(())
    }

    /// One of the given words.
    pub(super) fn one_of(&self, words: &[&str]) -> Result<String, CiError> {
        let word = self.string()?;
        if words.contains(&word.as_str()) {
            return Ok(word);
        }
        Err(self.error(format!("should be one of: {}", words.join(", "))))
    }

    /// Check that there are no other keys.
    pub(super) fn only_keys(&self, known: &[&str]) -> Result<(), CiError> {
        let unknown: Vec<&str> = self
            .mapping()?
            .keys()
            .map(String::as_str)
            .filter(|key| !known.contains(key))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(self.error(format!(
            "config contains unknown keys: {}",
            unknown.join(", ")
        )))
    }
}
