//! A job's variables: precedence and expansion.
//!
//! The rules are GitLab Runner's (`common/spec/variables.go`, and Go's `os.Expand` beneath it): of
//! two variables with the same name the later one wins; values are expanded once, not recursively;
//! a raw variable is not expanded; an unknown one expands to nothing; `$$` is a dollar sign; a file
//! variable expands to the path of its file.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::null::null_as_default;

/// The variable that holds the folder where file variables are written.
pub const FILE_FOLDER: &str = "RUNNER_TEMP_PROJECT_DIR";

/// One variable of a job.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variable {
    /// The variable's name.
    #[serde(deserialize_with = "null_as_default")]
    pub key: String,
    /// Its value; for a file variable, the file's content.
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
    /// Whether anybody may see it: true for predefined ones and those of `.gitlab-ci.yml`.
    #[serde(deserialize_with = "null_as_default")]
    pub public: bool,
    /// Whether scripts get it as a file.
    #[serde(deserialize_with = "null_as_default")]
    pub file: bool,
    /// Whether the trace must not show its value.
    #[serde(deserialize_with = "null_as_default")]
    pub masked: bool,
    /// Whether references in its value are not expanded.
    #[serde(deserialize_with = "null_as_default")]
    pub raw: bool,
}

impl Variable {
    /// A public variable whose value is not expanded.
    pub fn public(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            public: true,
            raw: true,
            ..Self::default()
        }
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let visible = self.public && !self.masked;
        let value = if visible {
            self.value.as_str()
        } else {
            "[hidden]"
        };
        write!(f, "{}={value:?}", self.key)
    }
}

/// The variables of a job with their final values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// In the order of their last definition, each name once.
    list: Vec<Variable>,
}

impl Variables {
    /// Variables from several sources, the weakest first: the runner's, the job's, and those that
    /// the job may not change.
    pub fn resolve(sources: impl IntoIterator<Item = Variable>) -> Self {
        let mut given = Self::default();
        for variable in sources {
            given.set(variable);
        }
        let list = given
            .list
            .iter()
            .map(|variable| {
                let mut variable = variable.clone();
                if !variable.raw {
                    variable.value = given.expand(&variable.value);
                }
                variable
            })
            .collect();
        Self { list }
    }

    /// Sets a variable whose value is final: it is not expanded.
    pub fn set(&mut self, variable: Variable) {
        self.list.retain(|known| known.key != variable.key);
        self.list.push(variable);
    }

    /// A variable's value; for a file variable, the file's content.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.find(key).map(|variable| variable.value.as_str())
    }

    /// A variable's value, or the path of its file.
    pub fn reference(&self, key: &str) -> Option<Cow<'_, str>> {
        self.find(key).map(|variable| {
            if variable.file {
                Cow::Owned(self.file_path(key))
            } else {
                Cow::Borrowed(variable.value.as_str())
            }
        })
    }

    /// Whether a variable is true: `true`, `t` or `1`, in any case.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "t" | "1"))
    }

    /// Expands `$NAME` and `${NAME}`.
    pub fn expand(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            expanded.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            let (reference, length) = Reference::at(after);
            match reference {
                Reference::None | Reference::Name("$") => expanded.push('$'),
                Reference::Broken => {}
                Reference::Name(name) => {
                    expanded.push_str(&self.reference(name).unwrap_or_default());
                }
            }
            rest = &after[length..];
        }
        expanded.push_str(rest);
        expanded
    }

    /// All variables, each name once.
    pub fn iter(&self) -> impl Iterator<Item = &Variable> {
        self.list.iter()
    }

    /// The values that the trace must not show.
    pub fn mask_values(&self) -> Vec<String> {
        self.list
            .iter()
            .filter(|variable| variable.masked && !variable.value.is_empty())
            .map(|variable| variable.value.clone())
            .collect()
    }

    fn find(&self, key: &str) -> Option<&Variable> {
        self.list.iter().find(|variable| variable.key == key)
    }

    fn file_path(&self, key: &str) -> String {
        match self.get(FILE_FOLDER) {
            Some(folder) if !folder.is_empty() => {
                format!("{}/{key}", folder.trim_end_matches('/'))
            }
            _ => key.to_owned(),
        }
    }
}

/// What follows a dollar sign.
enum Reference<'a> {
    /// A variable's name, or one of the shell's special ones.
    Name(&'a str),
    /// Not a name: the dollar sign is literal.
    None,
    /// An unclosed or empty brace: removed.
    Broken,
}

impl<'a> Reference<'a> {
    /// Reads what follows a dollar sign, and returns its length in bytes.
    fn at(text: &'a str) -> (Self, usize) {
        let Some(first) = text.bytes().next() else {
            return (Self::None, 0);
        };
        if first == b'{' {
            return match text.find('}') {
                None => (Self::Broken, 1),
                Some(1) => (Self::Broken, 2),
                Some(end) => (Self::Name(&text[1..end]), end + 1),
            };
        }
        if is_special(first) {
            return (Self::Name(&text[..1]), 1);
        }
        let length = text
            .bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
            .count();
        if length == 0 {
            (Self::None, 0)
        } else {
            (Self::Name(&text[..length]), length)
        }
    }
}

/// The shell's special parameters, whose names have one character.
fn is_special(byte: u8) -> bool {
    matches!(
        byte,
        b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(key: &str, value: &str) -> Variable {
        Variable {
            key: key.into(),
            value: value.into(),
            ..Variable::default()
        }
    }

    #[test]
    fn references_are_replaced_as_gitlab_does() {
        let variables = Variables::resolve([
            variable("NAME", "build"),
            variable("N", "short"),
            Variable {
                file: true,
                ..variable("KEY", "content")
            },
            variable(FILE_FOLDER, "/builds/a/b.tmp/"),
        ]);
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$NAME", "build"),
            ("${NAME}", "build"),
            ("a-$NAME-b", "a-build-b"),
            ("$NAME_x", ""),
            ("${NAME}_x", "build_x"),
            ("$N$N", "shortshort"),
            ("$UNKNOWN!", "!"),
            ("$$NAME", "$NAME"),
            ("$", "$"),
            ("1 $ 2", "1 $ 2"),
            ("$1x", "x"),
            ("$-x", "x"),
            ("${", ""),
            ("${}x", "x"),
            ("${NAME", "NAME"),
            ("$KEY", "/builds/a/b.tmp/KEY"),
            ("ü$NAMEü", "übuildü"),
        ] {
            assert_eq!(variables.expand(text), expected, "{text}");
        }
    }

    #[test]
    fn the_last_definition_wins_and_values_are_expanded_once() {
        let variables = Variables::resolve([
            variable("A", "first"),
            variable("B", "$A-$C"),
            variable("C", "$D"),
            variable("D", "deep"),
            variable("A", "last"),
            Variable {
                raw: true,
                ..variable("RAW", "$A")
            },
        ]);
        assert_eq!(variables.get("B"), Some("last-$D"));
        assert_eq!(variables.get("RAW"), Some("$A"));
        assert_eq!(variables.get("A"), Some("last"));
        assert_eq!(variables.iter().filter(|v| v.key == "A").count(), 1);
        assert_eq!(variables.get("E"), None);
    }

    #[test]
    fn masked_values_are_the_final_ones() {
        let variables = Variables::resolve([
            variable("HOST", "example"),
            Variable {
                masked: true,
                ..variable("PASSWORD", "at-$HOST")
            },
            Variable {
                masked: true,
                ..variable("EMPTY", "")
            },
        ]);
        assert_eq!(variables.mask_values(), ["at-example"]);
    }

    #[test]
    fn flags_are_read_in_any_case() {
        let variables = Variables::resolve([
            variable("A", "True"),
            variable("B", "1"),
            variable("C", "no"),
        ]);
        assert!(variables.flag("A") && variables.flag("B"));
        assert!(!variables.flag("C") && !variables.flag("D"));
    }

    #[test]
    fn debug_hides_private_values() {
        let shown = format!(
            "{:?} {:?} {:?}",
            Variable::public("A", "1"),
            Variable {
                masked: true,
                ..Variable::public("B", "2")
            },
            variable("C", "3"),
        );
        assert_eq!(shown, r#"A="1" B="[hidden]" C="[hidden]""#);
    }
}
