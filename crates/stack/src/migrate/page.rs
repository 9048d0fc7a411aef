//! Writes TOML with comments.

use toml::Value;

/// The widest line of a comment.
const WIDTH: usize = 80;

/// A file in the making.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) text: String,
    /// How many comments say what changed.
    pub(super) changes: usize,
}

impl Page {
    /// A line as it is.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// `key = value`.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value: Value = value.into();
        self.line(&format!("{key} = {value}"));
    }

    /// A comment, wrapped.
    pub(super) fn comment(&mut self, words: &str) {
        let mut line = "#".to_owned();
        for word in words.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH && line != "#" {
                self.line(&line);
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    /// A comment on what means something else than before.
    pub(super) fn changed(&mut self, words: &str) {
        self.changes += 1;
        self.comment(&format!("Changed: {words}"));
    }
}

/// A key that may have any characters.
pub(super) fn quoted(key: &str) -> String {
    Value::from(key).to_string()
}
