//! Finds patterns in a text whose end has not arrived yet.

use std::ops::Range;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use crate::Error;

/// Finds any of many patterns: the leftmost, and of those the longest.
#[derive(Clone)]
pub(super) struct Scanner {
    automaton: AhoCorasick,
    /// Sorted, and in lower case if case is ignored.
    patterns: Vec<Vec<u8>>,
    /// Length of the longest pattern.
    longest: usize,
    ignores_case: bool,
}

impl Scanner {
    pub(super) fn new(patterns: impl IntoIterator<Item = Vec<u8>>) -> Result<Self, Error> {
        Self::build(patterns, false)
    }

    /// Ignores the case of ASCII letters.
    pub(super) fn ignoring_case(
        patterns: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self, Error> {
        Self::build(patterns, true)
    }

    fn build(
        patterns: impl IntoIterator<Item = Vec<u8>>,
        ignores_case: bool,
    ) -> Result<Self, Error> {
        let mut patterns: Vec<Vec<u8>> = patterns
            .into_iter()
            .filter(|pattern| !pattern.is_empty())
            .collect();
        if ignores_case {
            for pattern in &mut patterns {
                pattern.make_ascii_lowercase();
            }
        }
        patterns.sort_unstable();
        patterns.dedup();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(ignores_case)
            .build(&patterns)
            .map_err(Error::Masks)?;
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        Ok(Self {
            automaton,
            patterns,
            longest,
            ignores_case,
        })
    }

    /// The patterns.
    pub(super) fn patterns(&self) -> &[Vec<u8>] {
        &self.patterns
    }

    /// The first pattern at or after `from`.
    pub(super) fn find(&self, text: &[u8], from: usize) -> Option<Range<usize>> {
        self.automaton
            .find(Input::new(text).range(from..))
            .map(|found| found.range())
    }

    /// The positions, ascending, at which the text's end may be the beginning of a pattern.
    pub(super) fn openings(&self, text: &[u8]) -> Vec<usize> {
        let first = text.len().saturating_sub(self.longest.saturating_sub(1));
        let mut end = text[first..].to_vec();
        if self.ignores_case {
            end.make_ascii_lowercase();
        }
        (0..end.len())
            .filter(|at| self.begins(&end[*at..]))
            .map(|at| first + at)
            .collect()
    }

    /// Whether this text is a proper prefix of a pattern.
    fn begins(&self, text: &[u8]) -> bool {
        // In the sorted list, patterns with this prefix directly follow the text's own position.
        let behind = self
            .patterns
            .partition_point(|pattern| pattern.as_slice() <= text);
        self.patterns
            .get(behind)
            .is_some_and(|pattern| pattern.starts_with(text))
    }
}
