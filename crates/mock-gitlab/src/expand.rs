//! References to variables, `$NAME` and `${NAME}`, replaced by values.

use std::collections::BTreeMap;

use crate::variable::Variable;

/// Maximum depth of references from variable to variable.
const MAX_DEPTH: usize = 20;

/// Expand references between variables, as GitLab does before it sends them. Unknown ones, and
/// those to raw and file variables, are kept.
pub(crate) fn expand(variables: Vec<Variable>) -> Vec<Variable> {
    let known: BTreeMap<String, Variable> = variables
        .iter()
        .map(|variable| (variable.key.clone(), variable.clone()))
        .collect();
    variables
        .into_iter()
        .map(|variable| Variable {
            value: expanded(&variable, &known, 0),
            ..variable
        })
        .collect()
}

fn expanded(variable: &Variable, known: &BTreeMap<String, Variable>, depth: usize) -> String {
    if variable.raw || depth > MAX_DEPTH || !variable.value.contains('$') {
        return variable.value.clone();
    }
    replaced(&variable.value, |name| {
        let other = known.get(name)?;
        let expands = !other.raw && !other.file && other.key != variable.key;
        expands.then(|| expanded(other, known, depth + 1))
    })
}

/// How unknown references are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Vanish,
    Stay,
}

/// A text with its references replaced by the variables' unexpanded values.
pub(crate) fn in_text(text: &str, known: &BTreeMap<String, String>, unknown: Unknown) -> String {
    replaced(text, |name| match (known.get(name), unknown) {
        (Some(value), _) => Some(value.clone()),
        (None, Unknown::Vanish) => Some(String::new()),
        (None, Unknown::Stay) => None,
    })
}

/// A text with its references replaced by `value_of`; `None` keeps a reference.
fn replaced(text: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at..];
        let (reference, name) = reference(rest);
        match name.and_then(&value_of) {
            Some(value) => result.push_str(&value),
            None => result.push_str(reference),
        }
        rest = &rest[reference.len()..];
    }
    result.push_str(rest);
    result
}

/// The reference that a text begins with, `$NAME` or `${NAME}`, and its name.
fn reference(text: &str) -> (&str, Option<&str>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.starts_with("$$") {
        return (&text[..2], None);
    }
    let (open, rest) = match text.strip_prefix("${") {
        Some(rest) => (2, rest),
        None => (1, &text[1..]),
    };
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    let close = usize::from(open == 2);
    if end == 0 || (open == 2 && !rest[end..].starts_with('}')) {
        return (&text[..1], None);
    }
    (&text[..open + end + close], Some(&rest[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(pairs: &[(&str, &str)], key: &str) -> String {
        let all = pairs
            .iter()
            .map(|(key, value)| Variable::public(*key, *value))
            .collect();
        expand(all)
            .into_iter()
            .find(|variable| variable.key == key)
            .unwrap()
            .value
    }

    #[test]
    fn references_are_expanded() {
        let pairs = [
            ("A", "a"),
            ("B", "$A-${A}b"),
            ("C", "<$B>$NONE$"),
            ("D", "$$A ${A"),
            ("E", "$E"),
        ];
        assert_eq!(value_of(&pairs, "B"), "a-ab");
        assert_eq!(value_of(&pairs, "C"), "<a-ab>$NONE$");
        assert_eq!(value_of(&pairs, "D"), "$$A ${A");
        assert_eq!(value_of(&pairs, "E"), "$E");
    }

    #[test]
    fn a_cycle_ends() {
        assert!(value_of(&[("A", "$B"), ("B", "$A")], "A").starts_with('$'));
    }

    #[test]
    fn unknown_references_vanish_or_stay() {
        let known = BTreeMap::from([("A".to_owned(), "a".to_owned())]);
        assert_eq!(in_text("$A/${A}.$B$", &known, Unknown::Vanish), "a/a.$");
        assert_eq!(in_text("$A/${A}.$B$", &known, Unknown::Stay), "a/a.$B$");
    }
}
