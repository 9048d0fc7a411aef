//! Where in the text a key stands, for errors found after reading.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One step from a table or a list to what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a key.
    Key(&'static str),
    /// The value of a key that the file's author has chosen.
    Entry(String),
    /// An element of a list.
    Index(usize),
}

/// The bytes of the value at `path`, or of the nearest table around it that is there.
pub(super) fn locate(text: &str, path: &[Step]) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let mut found = None;
    let mut table = Some(root.get_ref());
    let mut list: Option<&[Spanned<DeValue<'_>>]> = None;
    for step in path {
        let value = match step {
            Step::Key(key) => table?.get(*key),
            Step::Entry(key) => table?.get(key.as_str()),
            Step::Index(index) => list?.get(*index),
        };
        let Some(value) = value else { break };
        found = Some(value.span());
        table = value.get_ref().as_table();
        list = value.get_ref().as_array().map(|array| &array[..]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_what_is_around_missing_ones_are_found() {
        let text =
            "[[runners]]\nname = 'a'\n[[runners]]\nname = 'b'\n[runners.workers]\nslots = 0\n";
        let at = |path: &[Step]| locate(text, path).map(|range| &text[range]);
        let second = [Step::Key("runners"), Step::Index(1)];
        let slots = [&second[..], &[Step::Key("workers"), Step::Key("slots")]].concat();
        assert_eq!(at(&slots), Some("0"));
        let missing = [&second[..], &[Step::Key("limit")]].concat();
        assert!(at(&missing).is_some_and(|text| text.contains("runners")));
        assert_eq!(at(&[Step::Key("network")]), None);
    }
}
