//! Reads TOML tables key by key, with errors that know their line.

mod complaint;
mod maps;
mod value;

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, ConfigErrorKind, Excerpt, nearest};

pub(crate) use complaint::Complaint;
use value::{to_value, to_value_of};

/// A key and its value, both with their place.
type Entry<'d> = (Spanned<std::borrow::Cow<'d, str>>, Spanned<DeValue<'d>>);

/// Keys whose values are never shown.
const SECRET_KEYS: [&str; 11] = [
    "token",
    "AccessKey",
    "SecretKey",
    "SessionToken",
    "MachineOptions",
    "environment",
    "password",
    "bearer_token",
    "AccountKey",
    "PrivateKey",
    "url",
];

/// The file that is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'d> {
    /// Its name, for errors.
    pub(crate) file: &'d str,
    /// Its text.
    pub(crate) text: &'d str,
}

impl<'d> Source<'d> {
    /// The file's outermost table.
    pub(crate) fn root(self) -> Result<Section<'d>, ConfigError> {
        match DeTable::parse(self.text) {
            Ok(table) => Ok(Section::new(self, "the file".to_owned(), table)),
            Err(error) => {
                let message = error.message().trim_end().replace('\n', ", ");
                let span = error.span().unwrap_or(0..0);
                let at = Excerpt::blanked(self.file, self.text, span);
                Err(ConfigError::new(ConfigErrorKind::Syntax(message), Some(at)))
            }
        }
    }
}

/// One table, from which keys are taken until none is left.
#[derive(Debug)]
pub(crate) struct Section<'d> {
    source: Source<'d>,
    header: String,
    span: Range<usize>,
    entries: Vec<Entry<'d>>,
    asked: Vec<&'static str>,
}

impl<'d> Section<'d> {
    fn new(source: Source<'d>, header: String, table: Spanned<DeTable<'d>>) -> Self {
        let span = table.span();
        let entries = table.into_inner().into_iter().collect();
        Self {
            source,
            header,
            span,
            entries,
            asked: Vec::new(),
        }
    }

    /// Takes a value. GitLab Runner matches keys without regard to case, and so do we; an exact
    /// match wins.
    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'d>>> {
        self.asked.push(key);
        let exact = self
            .entries
            .iter()
            .position(|(name, _)| name.get_ref() == key);
        let loose = || {
            self.entries
                .iter()
                .position(|(name, _)| name.get_ref().eq_ignore_ascii_case(key))
        };
        let index = exact.or_else(loose)?;
        Some(self.entries.remove(index).1)
    }

    /// A string.
    pub(crate) fn string(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.string_at(key)?.map(|(text, _)| text))
    }

    /// A string and its place.
    pub(crate) fn string_at(
        &mut self,
        key: &'static str,
    ) -> Result<Option<(String, Range<usize>)>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Ok(Some((text.into_owned(), span))),
            other => Err(self.wrong_type(key, "a string", &other, span)),
        }
    }

    /// A string that parses as a `T`.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, span)) = self.string_at(key)? else {
            return Ok(None);
        };
        parse(&text)
            .map(Some)
            .map_err(|complaint| self.bad_value(key, complaint, span))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match value.get_ref() {
            DeValue::Boolean(boolean) => Ok(Some(*boolean)),
            other => Err(self.wrong_type(key, "true or false", other, value.span())),
        }
    }

    /// A whole number that fits a `T`.
    pub(crate) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let span = value.span();
        let DeValue::Integer(_) = value.get_ref() else {
            return Err(self.wrong_type(key, "a whole number", value.get_ref(), span));
        };
        let number = match to_value(value.into_inner()) {
            toml::Value::Integer(number) => T::try_from(number).ok(),
            _ => None,
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(self.bad_value(key, Complaint::new("is out of range"), span)),
        }
    }

    /// A number with or without decimals.
    pub(crate) fn float(&mut self, key: &'static str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let span = value.span();
        match value.get_ref() {
            DeValue::Float(float) => Ok(float.as_str().replace('_', "").parse().ok()),
            DeValue::Integer(integer) => Ok(integer.as_str().replace('_', "").parse().ok()),
            other => Err(self.wrong_type(key, "a number", other, span)),
        }
    }

    /// A list of strings; none where the key is missing.
    pub(crate) fn strings(&mut self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        Ok(self
            .strings_at(key)?
            .into_iter()
            .map(|(text, _)| text)
            .collect())
    }

    /// A list of strings, each with its place. One string alone stands for a list of one, which
    /// GitLab Runner allows for `pull_policy`.
    pub(crate) fn strings_at(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(String, Range<usize>)>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(Vec::new());
        };
        let span = value.span();
        let items = match value.into_inner() {
            DeValue::Array(items) => items,
            DeValue::String(text) => return Ok(vec![(text.into_owned(), span)]),
            other => return Err(self.wrong_type(key, "a list of strings", &other, span)),
        };
        let mut strings = Vec::with_capacity(items.len());
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::String(text) => strings.push((text.into_owned(), span)),
                other => return Err(self.wrong_type(key, "a list of strings", &other, span)),
            }
        }
        Ok(strings)
    }

    /// A table as it is, without looking into it.
    pub(crate) fn untyped(&mut self, key: &'static str) -> Result<toml::Table, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(toml::Table::new());
        };
        let span = value.span();
        match to_value_of(value) {
            toml::Value::Table(table) => Ok(table),
            _ => Err(self.error(
                ConfigErrorKind::WrongType {
                    key: key.to_owned(),
                    expected: "a table",
                    found: "something else",
                },
                span,
            )),
        }
    }

    /// A table below this one.
    pub(crate) fn section(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Section<'d>>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => {
                let header = format!("[{}]", self.path_of(key));
                Ok(Some(Section::new(
                    self.source,
                    header,
                    Spanned::new(span, table),
                )))
            }
            other => Err(self.wrong_type(key, "a table", &other, span)),
        }
    }

    /// A list of tables below this one.
    pub(crate) fn sections(&mut self, key: &'static str) -> Result<Vec<Section<'d>>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(Vec::new());
        };
        let span = value.span();
        let items = match value.into_inner() {
            DeValue::Array(items) => items,
            other => return Err(self.wrong_type(key, "a list of tables", &other, span)),
        };
        let mut sections = Vec::with_capacity(items.len());
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => {
                    let header = format!("[[{}]]", self.path_of(key));
                    sections.push(Section::new(self.source, header, Spanned::new(span, table)));
                }
                other => return Err(self.wrong_type(key, "a list of tables", &other, span)),
            }
        }
        Ok(sections)
    }

    /// Insists on a key.
    pub(crate) fn required<T>(
        &self,
        key: &'static str,
        value: Option<T>,
    ) -> Result<T, ConfigError> {
        let missing = || {
            let kind = ConfigErrorKind::MissingKey {
                key,
                section: self.header.clone(),
            };
            self.error(kind, self.span.clone())
        };
        value.ok_or_else(missing)
    }

    /// Gives what nobody took. Keys that GitLab Runner does not have either are errors.
    pub(crate) fn finish(self, known: &[&str]) -> Result<toml::Table, ConfigError> {
        let mut others = toml::Table::new();
        for (key, _) in &self.entries {
            let name = key.get_ref();
            if !known.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                let candidates = self.asked.iter().copied().chain(known.iter().copied());
                let kind = ConfigErrorKind::UnknownKey {
                    key: name.clone().into_owned(),
                    section: self.header.clone(),
                    nearest: nearest(name, candidates).map(str::to_owned),
                };
                return Err(self.error(kind, key.span()));
            }
        }
        for (key, value) in self.entries {
            others.insert(key.into_inner().into_owned(), to_value_of(value));
        }
        Ok(others)
    }

    /// A value of the right type that makes no sense.
    pub(crate) fn bad_value(
        &self,
        key: &str,
        complaint: Complaint,
        span: Range<usize>,
    ) -> ConfigError {
        let Complaint { reason, hint } = complaint;
        self.error(
            ConfigErrorKind::BadValue {
                key: key.to_owned(),
                reason,
                hint,
            },
            span,
        )
    }

    fn wrong_type(
        &self,
        key: &str,
        expected: &'static str,
        found: &DeValue<'_>,
        span: Range<usize>,
    ) -> ConfigError {
        let found = match found {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with decimals",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let key = key.to_owned();
        self.error(
            ConfigErrorKind::WrongType {
                key,
                expected,
                found,
            },
            span,
        )
    }

    fn error(&self, kind: ConfigErrorKind, span: Range<usize>) -> ConfigError {
        let Source { file, text } = self.source;
        let shown = match &kind {
            ConfigErrorKind::BadValue { key, .. } | ConfigErrorKind::WrongType { key, .. } => {
                !SECRET_KEYS
                    .iter()
                    .any(|secret| secret.eq_ignore_ascii_case(key))
            }
            _ => false,
        };
        // Another key of the line may be secret too.
        let excerpt = if shown {
            Excerpt::careful(file, text, span, &SECRET_KEYS)
        } else {
            Excerpt::blanked(file, text, span)
        };
        ConfigError::new(kind, Some(excerpt))
    }

    /// `runners.docker` for `docker` in `[[runners]]`.
    fn path_of(&self, key: &str) -> String {
        match self.header.trim_matches(['[', ']']) {
            "the file" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}
