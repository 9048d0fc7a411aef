//! Facts about the pipeline and the repository that a configuration can query, gathered in advance.

use std::collections::BTreeMap;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

/// The maximum of pairs of path and pattern that GitLab compares for `changes`; more count as a
/// match.
const MAX_CHANGES: usize = 50_000;
/// The same for `exists`.
const MAX_EXISTS: usize = 10_000;

/// A commit's files, and what changed with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    /// The paths of all files.
    pub(crate) paths: Vec<String>,
    /// What is in the YAML files.
    pub(crate) yaml: BTreeMap<String, String>,
    /// The paths that the push changed; `None` if there is nothing to compare with, as for a new
    /// branch or a tag.
    pub(crate) changed: Option<Vec<String>>,
    /// The paths changed since the commit named by a `compare_to`; `None` if there is no such
    /// commit.
    pub(crate) changed_since: BTreeMap<String, Option<Vec<String>>>,
}

/// The pipeline's facts for rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation<'a> {
    pub(crate) variables: &'a BTreeMap<String, String>,
    pub(crate) tree: &'a Tree,
    pub(crate) git_ref: &'a str,
    pub(crate) tag: bool,
}

impl Tree {
    /// Is there a file that matches one of the patterns?
    pub(super) fn has_any(&self, patterns: &[String]) -> bool {
        any_matches(&self.paths, patterns, MAX_EXISTS)
    }

    /// The files that match a pattern of `include:local`: `*` stays within a name, `**` crosses
    /// folders.
    pub(super) fn included_by<'a>(&'a self, pattern: &str) -> Vec<&'a str> {
        let text = regex::escape(pattern)
            .replace(r"\*\*", ".*?")
            .replace(r"\*", "[^/]*?");
        let Ok(pattern) = regex::Regex::new(&format!("^{text}$")) else {
            return Vec::new();
        };
        let paths = self.paths.iter().map(String::as_str);
        paths.filter(|path| pattern.is_match(path)).collect()
    }
}

/// Does one of the changed files match one of the patterns?
pub(super) fn has_changed(changed: &[String], patterns: &[String]) -> bool {
    any_matches(changed, patterns, MAX_CHANGES)
}

/// Is this the name of a YAML file, as `include` requires?
pub(crate) fn is_yaml(path: &str) -> bool {
    let extension = Path::new(path).extension();
    extension.is_some_and(|one| one.eq_ignore_ascii_case("yml") || one.eq_ignore_ascii_case("yaml"))
}

fn any_matches(paths: &[String], patterns: &[String], most: usize) -> bool {
    if paths.is_empty() || patterns.is_empty() {
        return false;
    }
    if paths.len() * patterns.len() > most {
        return true;
    }
    let matchers: Vec<GlobMatcher> = patterns.iter().filter_map(|text| glob(text)).collect();
    paths
        .iter()
        .any(|path| matchers.iter().any(|matcher| matcher.is_match(path)))
}

/// A pattern of Ruby's `File.fnmatch` with `FNM_PATHNAME`, `FNM_DOTMATCH` and `FNM_EXTGLOB`: only
/// `**/` crosses folders; a final `**` works like `*`.
fn glob(text: &str) -> Option<GlobMatcher> {
    let text = match text.strip_suffix("**") {
        Some(before) => format!("{before}*"),
        None => text.to_owned(),
    };
    let glob = GlobBuilder::new(&text)
        .literal_separator(true)
        .backslash_escape(true)
        .build();
    Some(glob.ok()?.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Tree {
        Tree {
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            ..Tree::default()
        }
    }

    #[test]
    fn patterns_match_as_in_ruby() {
        let matches = |pattern: &str, path: &str| tree(&[path]).has_any(&[pattern.to_owned()]);
        for (pattern, path) in [
            ("Dockerfile", "Dockerfile"),
            ("*.md", "a.md"),
            ("*", ".hidden"),
            ("docs/*", "docs/a"),
            ("docs/**/*", "docs/a"),
            ("docs/**/*", "docs/a/b/.c"),
            ("**/*.rs", "main.rs"),
            ("**/*.rs", "a/b/main.rs"),
            ("docs/**", "docs/a"),
            ("a.{rs,md}", "a.md"),
            ("[ab].txt", "b.txt"),
            ("?.txt", "b.txt"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("docs/", "docs/a"),
            ("docs", "docs/a"),
            ("*.md", "docs/a.md"),
            ("docs/*", "docs/a/b"),
            ("docs/**", "docs/a/b"),
            ("[ab].txt", "c.txt"),
            ("dockerfile", "Dockerfile"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn too_many_comparisons_count_as_a_match() {
        let paths: Vec<String> = (0..=MAX_EXISTS).map(|n| n.to_string()).collect();
        let tree = Tree {
            paths,
            ..Tree::default()
        };
        assert!(tree.has_any(&["no".to_owned()]));
        assert!(!tree.has_any(&[]));
    }

    #[test]
    fn included_patterns_cross_folders_by_two_stars() {
        let tree = tree(&["ci/a.yml", "ci/deep/b.yml", "ci/a.yaml", "other.yml"]);
        assert_eq!(tree.included_by("ci/*.yml"), ["ci/a.yml"]);
        assert_eq!(tree.included_by("ci/**.yml"), ["ci/a.yml", "ci/deep/b.yml"]);
        assert_eq!(tree.included_by("ci/**/*.yml"), ["ci/deep/b.yml"]);
        assert_eq!(tree.included_by("no/*.yml"), [""; 0]);
    }
}
