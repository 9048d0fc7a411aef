//! Reads TOML tables key by key, with errors that know their place.

mod complaint;
pub(crate) mod environment;
mod maps;
mod numbers;
mod value;

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, ConfigErrorKind, Excerpt, typo_of};
use crate::reference::{self, Fate, Key};

pub(crate) use complaint::Complaint;
pub(crate) use value::to_value;
use value::to_value_of;

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

/// The file being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'d> {
    /// Its name, for errors.
    pub(crate) file: &'d str,
    /// Its text.
    pub(crate) text: &'d str,
    /// Looks up the environment variables in the file.
    pub(crate) variable: Variable,
}

/// Returns the value of an environment variable.
pub(crate) type Variable = fn(&str) -> Option<String>;

impl<'d> Source<'d> {
    /// The file's outermost table.
    pub(crate) fn root(self) -> Result<Section<'d>, ConfigError> {
        Ok(self.section(self.table()?))
    }

    /// A table in place of the file's outermost one.
    pub(crate) fn section(self, table: Spanned<DeTable<'d>>) -> Section<'d> {
        Section::new(self, "the file".to_owned(), table)
    }

    /// The file as TOML.
    pub(crate) fn table(self) -> Result<Spanned<DeTable<'d>>, ConfigError> {
        match DeTable::parse(self.text) {
            Ok(table) => Ok(table),
            Err(error) => {
                let message = error.message().trim_end().replace('\n', ", ");
                let span = error.span().unwrap_or(0..0);
                let at = Excerpt::blanked(self.file, self.text, span);
                Err(ConfigError::new(ConfigErrorKind::Syntax(message), Some(at)))
            }
        }
    }
}

/// A table from which keys are taken one by one.
#[derive(Debug)]
pub(crate) struct Section<'d> {
    source: Source<'d>,
    header: String,
    span: Range<usize>,
    entries: Vec<Entry<'d>>,
    asked: Vec<&'static str>,
    /// A key that is set but can't be honoured, found in advance.
    refused: Option<(Key, Range<usize>)>,
}

impl<'d> Section<'d> {
    fn new(source: Source<'d>, header: String, table: Spanned<DeTable<'d>>) -> Self {
        let span = table.span();
        let entries: Vec<Entry<'d>> = table.into_inner().into_iter().collect();
        let refused = entries.iter().find_map(|(name, value)| {
            let key = reference::key(path_in(&header), name.get_ref())?;
            let refused = matches!(key.fate, Fate::Refused(_));
            let set = || !reference::is_unset(&to_value(value.get_ref().clone()));
            (refused && set()).then(|| (*key, name.span()))
        });
        Self {
            source,
            header,
            span,
            entries,
            asked: Vec::new(),
            refused,
        }
    }

    /// Takes a value. Like GitLab Runner, this ignores the key's case; an exact match has
    /// precedence.
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

    /// A string and its place. An empty one counts as unset, as everywhere in GitLab Runner.
    pub(crate) fn string_at(
        &mut self,
        key: &'static str,
    ) -> Result<Option<(String, Range<usize>)>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) if text.is_empty() => Ok(None),
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

    /// A list of strings; empty if the key is missing. Empty strings are ignored.
    pub(crate) fn strings(&mut self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        let mut texts = self.words(key)?;
        texts.retain(|text| !text.is_empty());
        Ok(texts)
    }

    /// A list in which an empty string has a meaning: an argument of a command, or the only allowed
    /// user.
    pub(crate) fn words(&mut self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        let texts = self.strings_at(key)?.into_iter();
        Ok(texts.map(|(text, _)| text).collect())
    }

    /// A list of strings, each parsed as a `T`. Empty strings are ignored.
    pub(crate) fn each_parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Complaint>,
    ) -> Result<Vec<T>, ConfigError> {
        let mut texts = self.strings_at(key)?;
        texts.retain(|(text, _)| !text.is_empty());
        self.parsed_at(key, texts, parse)
    }

    /// A list of patterns of what is allowed. An empty pattern allows nothing, and a list with only
    /// such patterns still counts as set, whereas a missing list allows everything.
    pub(crate) fn patterns(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<String, Complaint>,
    ) -> Result<Vec<String>, ConfigError> {
        let texts = self.strings_at(key)?;
        self.parsed_at(key, texts, parse)
    }

    fn parsed_at<T>(
        &self,
        key: &'static str,
        texts: Vec<(String, Range<usize>)>,
        parse: impl Fn(&str) -> Result<T, Complaint>,
    ) -> Result<Vec<T>, ConfigError> {
        let parsed = texts.into_iter().map(|(text, span)| {
            parse(&text).map_err(|complaint| self.bad_value(key, complaint, span))
        });
        parsed.collect()
    }

    /// A list of strings, each with its place. A single string counts as a list with one item,
    /// which GitLab Runner allows for `pull_policy`; if it is empty, the key counts as unset.
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
            DeValue::String(text) if text.is_empty() => return Ok(Vec::new()),
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

    /// A table without reading its content.
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

    /// The line number of a span's start.
    pub(crate) fn line_of(&self, span: &Range<usize>) -> usize {
        Excerpt::plain(self.source.file, self.source.text, span.clone()).line()
    }

    /// The environment's variables.
    pub(crate) fn variable(&self) -> Variable {
        self.source.variable
    }

    /// Requires a key.
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

    /// Returns the keys that were not taken. A refused key is an error, and so is a probably
    /// misspelt one; other unknown keys are kept, because they may belong to a newer GitLab Runner.
    pub(crate) fn finish(self) -> Result<toml::Table, ConfigError> {
        let table = path_in(&self.header);
        self.assert_all_honoured(table);
        if let Some((key, span)) = &self.refused
            && let Fate::Refused(why) = key.fate
        {
            let kind = ConfigErrorKind::Refused {
                key: key.name,
                section: self.header.clone(),
                why,
            };
            return Err(self.error(kind, span.clone()));
        }
        for (key, _) in &self.entries {
            let name = key.get_ref();
            if reference::key(table, name).is_some() {
                continue;
            }
            let known = reference::keys(table).iter().map(|key| key.name);
            if let Some(nearest) = typo_of(name, known) {
                let kind = ConfigErrorKind::UnknownKey {
                    key: name.clone().into_owned(),
                    section: self.header.clone(),
                    nearest: nearest.to_owned(),
                };
                return Err(self.error(kind, key.span()));
            }
        }
        let entries = self.entries.into_iter();
        Ok(entries
            .map(|(key, value)| (key.into_inner().into_owned(), to_value_of(value)))
            .collect())
    }

    /// A key listed as honoured must at least be read.
    fn assert_all_honoured(&self, table: &str) {
        for key in reference::keys(table) {
            let read = self.asked.contains(&key.name);
            debug_assert!(
                read || key.fate != Fate::Honoured,
                "{} in {} is not read",
                key.name,
                self.header
            );
        }
        for asked in &self.asked {
            debug_assert!(
                reference::key(table, asked).is_some(),
                "{asked} in {} is in no list",
                self.header
            );
        }
    }

    /// The error for an invalid value of the right type.
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

    pub(crate) fn error(&self, kind: ConfigErrorKind, span: Range<usize>) -> ConfigError {
        let Source { file, text, .. } = self.source;
        let shown = match &kind {
            ConfigErrorKind::BadValue { key, .. } | ConfigErrorKind::WrongType { key, .. } => {
                !SECRET_KEYS
                    .iter()
                    .any(|secret| secret.eq_ignore_ascii_case(key))
            }
            _ => false,
        };
        // Another key in the same line may be secret too.
        let excerpt = if shown {
            Excerpt::careful(file, text, span, &SECRET_KEYS)
        } else {
            Excerpt::blanked(file, text, span)
        };
        ConfigError::new(kind, Some(excerpt))
    }

    /// `runners.docker` for `docker` in `[[runners]]`.
    fn path_of(&self, key: &str) -> String {
        match path_in(&self.header) {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

/// `runners.docker` for `[runners.docker]`, empty for the file itself.
fn path_in(header: &str) -> &str {
    match header.trim_matches(['[', ']']) {
        "the file" => "",
        path => path,
    }
}
