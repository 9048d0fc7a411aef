//! Writes a `config.toml` in the format of 2017: plain values first, then one indented table for
//! each part of a runner.

use std::collections::BTreeMap;

use toml::Value;

use crate::Config;

/// The value or table of a key.
#[derive(Debug)]
pub(crate) enum Node {
    /// A value on the key's own line.
    Value(Value),
    /// A list with one item per line.
    Lines(Vec<String>),
    /// `[key]`.
    Section(Entries),
    /// `[[key]]`, once for each item.
    Sections(Vec<Entries>),
}

/// The content of a table, in the order in which it is written.
#[derive(Debug, Default)]
pub(crate) struct Entries(Vec<(String, Node)>);

impl Entries {
    /// Writes a value.
    pub(crate) fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.push((key.to_owned(), Node::Value(value.into())));
    }

    /// Writes a number. TOML's maximum is `i64::MAX`, which our numbers never reach.
    pub(crate) fn put_number(&mut self, key: &str, number: impl TryInto<i64>) {
        self.put(key, Value::Integer(number.try_into().unwrap_or(i64::MAX)));
    }

    /// Writes a number unless it is 0, GitLab Runner's "not set".
    pub(crate) fn put_nonzero(&mut self, key: &str, number: u64) {
        if number != 0 {
            self.put_number(key, number);
        }
    }

    /// Writes a factor unless it is 0, which turns it off.
    pub(crate) fn put_factor(&mut self, key: &str, factor: f64) {
        if factor != 0.0 {
            self.put(key, factor);
        }
    }

    /// Writes a value if there is one.
    pub(crate) fn put_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    /// Writes a flag unless it is off.
    pub(crate) fn put_flag(&mut self, key: &str, flag: bool) {
        if flag {
            self.put(key, true);
        }
    }

    /// Writes a list of strings unless it is empty.
    pub(crate) fn put_strings(&mut self, key: &str, strings: &[String]) {
        if !strings.is_empty() {
            self.put(key, strings.to_vec());
        }
    }

    /// Writes a list of strings, one per line.
    pub(crate) fn put_lines(&mut self, key: &str, lines: &[String]) {
        if !lines.is_empty() {
            self.0.push((key.to_owned(), Node::Lines(lines.to_vec())));
        }
    }

    /// Writes a table with user-defined keys unless it is empty.
    pub(crate) fn put_map<V: Clone + Into<Value>>(&mut self, key: &str, map: &BTreeMap<String, V>) {
        if !map.is_empty() {
            let mut entries = Entries::default();
            for (name, value) in map {
                entries.put(name, value.clone());
            }
            self.put_section(key, entries);
        }
    }

    /// Writes a table below this one.
    pub(crate) fn put_section(&mut self, key: &str, section: Entries) {
        self.0.push((key.to_owned(), Node::Section(section)));
    }

    /// Writes a list of tables below this one, unless it is empty.
    pub(crate) fn put_sections(&mut self, key: &str, sections: Vec<Entries>) {
        if !sections.is_empty() {
            self.0.push((key.to_owned(), Node::Sections(sections)));
        }
    }

    /// Writes the keys that a reader kept without using them.
    pub(crate) fn put_others(&mut self, others: &toml::Table) {
        for (key, value) in others {
            self.0.push((key.clone(), Node::of(value)));
        }
    }
}

impl Node {
    fn of(value: &Value) -> Self {
        match value {
            Value::Table(table) => {
                let mut entries = Entries::default();
                entries.put_others(table);
                Self::Section(entries)
            }
            Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
                let tables = items.iter().filter_map(Value::as_table);
                let sections = tables.map(|table| {
                    let mut entries = Entries::default();
                    entries.put_others(table);
                    entries
                });
                Self::Sections(sections.collect())
            }
            other => Self::Value(other.clone()),
        }
    }
}

/// The file's text, including any plain token.
pub fn render(config: &Config) -> String {
    let mut text = String::new();
    write_table(&mut text, &[], &config.entries());
    text
}

/// Writes a table's values, then the tables below it.
fn write_table(text: &mut String, path: &[&str], Entries(entries): &Entries) {
    let indent = "  ".repeat(path.len());
    for (key, node) in entries {
        match node {
            Node::Value(value) => push(text, &indent, &format!("{} = {value}", quoted(key))),
            Node::Lines(lines) => {
                push(text, &indent, &format!("{} = [", quoted(key)));
                for (index, line) in lines.iter().enumerate() {
                    let comma = if index + 1 < lines.len() { "," } else { "" };
                    let line = Value::String(line.clone());
                    push(text, &indent, &format!("  {line}{comma}"));
                }
                push(text, &indent, "]");
            }
            Node::Section(_) | Node::Sections(_) => {}
        }
    }
    for (key, node) in entries {
        let path = [path, &[key.as_str()]].concat();
        let name = path
            .iter()
            .map(|key| quoted(key))
            .collect::<Vec<_>>()
            .join(".");
        match node {
            Node::Section(section) => {
                head(text, path.len(), &format!("[{name}]"));
                write_table(text, &path, section);
            }
            Node::Sections(sections) => {
                for section in sections {
                    head(text, path.len(), &format!("[[{name}]]"));
                    write_table(text, &path, section);
                }
            }
            Node::Value(_) | Node::Lines(_) => {}
        }
    }
}

/// A table's header; an empty line precedes outermost tables.
fn head(text: &mut String, depth: usize, header: &str) {
    if depth == 1 && !text.is_empty() {
        text.push('\n');
    }
    push(text, &"  ".repeat(depth - 1), header);
}

fn push(text: &mut String, indent: &str, line: &str) {
    text.push_str(indent);
    text.push_str(line);
    text.push('\n');
}

/// The key, quoted if TOML requires it.
fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        let mut quoted = String::from("\"");
        for character in key.chars() {
            match character {
                '"' | '\\' => quoted.extend(['\\', character]),
                c if c.is_control() => quoted.extend(format!("\\u{:04X}", u32::from(c)).chars()),
                c => quoted.push(c),
            }
        }
        quoted.push('"');
        quoted
    }
}
