//! Which files go into a cache or an artifact: `paths`, `exclude` and `untracked`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::Error;
use crate::archive::{Kind, Tree};

/// The files that a job wants to keep.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Paths and globs relative to the build folder (`*`, `?`, `[a-z]`, `{a,b}`; `**` for any
    /// number of folders). A folder stands for all that is in it.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Globs of files to leave out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether files that git does not track are included.
    #[serde(default)]
    pub untracked: bool,
}

impl Selection {
    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.untracked
    }
}

/// The files found for a selection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selected {
    /// Files, folders and symlinks, relative to the build folder.
    pub paths: BTreeSet<PathBuf>,
    /// One line for each part of the selection, for the trace.
    pub report: Vec<Found>,
}

/// The result for one part of a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A pattern and the number of paths it matched, including the contents of matched folders.
    Pattern {
        /// The pattern as the job wrote it.
        pattern: String,
        /// How many paths it matched.
        count: usize,
    },
    /// A pattern that points outside the build folder.
    Outside {
        /// The pattern as the job wrote it.
        pattern: String,
    },
    /// How many untracked files there are.
    Untracked {
        /// How many.
        count: usize,
    },
    /// How many paths `exclude` removed.
    Excluded {
        /// How many.
        count: usize,
    },
}

impl Selection {
    /// Finds the files. `untracked` is the output of `git ls-files --others -z` in the build
    /// folder; it is only used if the selection asks for it.
    ///
    /// # Errors
    /// If a pattern is not a glob.
    pub fn find(&self, tree: &Tree, untracked: &[u8]) -> Result<Selected, Error> {
        let mut selected = Selected::default();
        for pattern in &self.paths {
            let Some(relative) = beneath(tree.name(), pattern) else {
                selected.report.push(Found::Outside {
                    pattern: pattern.clone(),
                });
                continue;
            };
            let found = find_pattern(tree, &relative)?;
            selected.report.push(Found::Pattern {
                pattern: pattern.clone(),
                count: found.len(),
            });
            selected.paths.extend(found);
        }
        if self.untracked {
            let found: BTreeSet<PathBuf> = untracked_paths(untracked).collect();
            selected
                .report
                .push(Found::Untracked { count: found.len() });
            selected.paths.extend(found);
        }
        if !self.exclude.is_empty() {
            let exclude = self.excluded(tree.name())?;
            let before = selected.paths.len();
            selected.paths.retain(|path| !exclude.is_match(path));
            selected.report.push(Found::Excluded {
                count: before - selected.paths.len(),
            });
        }
        Ok(selected)
    }

    fn excluded(&self, root: &Path) -> Result<GlobSet, Error> {
        let mut set = GlobSetBuilder::new();
        for pattern in &self.exclude {
            if let Some(relative) = beneath(root, pattern) {
                set.add(glob(&relative)?);
            }
        }
        set.build().map_err(|source| Error::Pattern {
            pattern: self.exclude.join(" "),
            source,
        })
    }
}

/// A pattern relative to the build folder: without `./`; absolute ones inside the folder become
/// relative. `None` if it points outside.
fn beneath(root: &Path, pattern: &str) -> Option<String> {
    let path = Path::new(pattern);
    let path = if path.is_absolute() {
        path.strip_prefix(root).ok()?
    } else {
        path
    };
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

fn find_pattern(tree: &Tree, pattern: &str) -> Result<BTreeSet<PathBuf>, Error> {
    let (prefix, is_glob) = literal_prefix(pattern);
    let start = Path::new(prefix);
    let mut found = BTreeSet::new();
    // Checked through the tree first: a path that leads outside by a symlink matches nothing.
    let is_directory = if prefix.is_empty() {
        true
    } else {
        match tree.stat(start) {
            Ok(stat) => stat.kind == Kind::Directory,
            Err(_) => return Ok(found),
        }
    };
    if !is_glob {
        if !prefix.is_empty() {
            found.insert(start.to_owned());
        }
        if is_directory {
            found.extend(walk(tree.path(), start));
        }
        return Ok(found);
    }
    if !is_directory {
        return Ok(found);
    }
    let matcher: GlobMatcher = glob(pattern)?.compile_matcher();
    // A path's parent comes before it, so that a matched folder includes its contents.
    for path in walk(tree.path(), start) {
        let in_matched = path.parent().is_some_and(|parent| found.contains(parent));
        if in_matched || matcher.is_match(&path) {
            found.insert(path);
        }
    }
    Ok(found)
}

/// Everything beneath a folder; symlinks are not followed.
fn walk<'a>(root: &'a Path, start: &Path) -> impl Iterator<Item = PathBuf> + 'a {
    WalkDir::new(root.join(start))
        .follow_links(false)
        .follow_root_links(false)
        .min_depth(1)
        .into_iter()
        .filter_map(Result::ok)
        .filter_map(move |entry| entry.path().strip_prefix(root).map(Path::to_owned).ok())
}

/// The folders before the first part with a wildcard, and whether there is one.
fn literal_prefix(pattern: &str) -> (&str, bool) {
    match pattern.find(['*', '?', '[', '{', '\\']) {
        None => (pattern, false),
        Some(wildcard) => (
            pattern[..wildcard]
                .rsplit_once('/')
                .map_or("", |(dir, _)| dir),
            true,
        ),
    }
}

fn glob(pattern: &str) -> Result<globset::Glob, Error> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|source| Error::Pattern {
            pattern: pattern.to_owned(),
            source,
        })
}

/// The paths in git's NUL-separated output that lie in the build folder.
fn untracked_paths(output: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    output
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(OsStr::from_bytes(name)))
        .filter(|path| {
            path.components()
                .all(|part| matches!(part, Component::Normal(_)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder with files of every kind; files next to it must never be found.
    fn sample() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("build");
        for file in [
            "a.txt",
            "target/x.o",
            "target/deep/y.o",
            "src/lib.rs",
            "src/.hidden",
            "ä b.c",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "s").unwrap();
        std::os::unix::fs::symlink("../outside", root.join("leak")).unwrap();
        std::os::unix::fs::symlink("target", root.join("inside")).unwrap();
        let tree = Tree::open(&root).unwrap();
        (dir, tree)
    }

    fn found(selection: &Selection, tree: &Tree, untracked: &[u8]) -> Vec<String> {
        let selected = selection.find(tree, untracked).unwrap();
        selected
            .paths
            .iter()
            .map(|p| p.to_string_lossy().into_owned())
            .collect()
    }

    fn paths(patterns: &[&str]) -> Selection {
        Selection {
            paths: patterns.iter().map(|p| (*p).to_owned()).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn patterns_find_what_doublestar_finds() {
        let (_dir, tree) = sample();
        let all_of_target = ["target", "target/deep", "target/deep/y.o", "target/x.o"];
        for (pattern, expected) in [
            ("a.txt", &["a.txt"][..]),
            ("target", &all_of_target),
            ("target/", &all_of_target),
            ("./target", &all_of_target),
            ("target/*", &all_of_target[1..]),
            ("target/*.o", &["target/x.o"]),
            ("**/*.o", &["target/deep/y.o", "target/x.o"]),
            ("{a.txt,src/*.rs}", &["a.txt", "src/lib.rs"]),
            ("src/*", &["src/.hidden", "src/lib.rs"]),
            ("t?rget/deep", &["target/deep", "target/deep/y.o"]),
            ("ä b.c", &["ä b.c"]),
            ("nothing", &[]),
            ("inside", &["inside"]),
        ] {
            assert_eq!(found(&paths(&[pattern]), &tree, b""), expected, "{pattern}");
        }
    }

    #[test]
    fn absolute_paths_in_the_folder_count() {
        let (_dir, tree) = sample();
        let pattern = tree.path().join("src/lib.rs");
        assert_eq!(
            found(&paths(&[pattern.to_str().unwrap()]), &tree, b""),
            ["src/lib.rs"]
        );
    }

    #[test]
    fn nothing_outside_is_ever_found() {
        let (_dir, tree) = sample();
        let patterns = [
            "../outside",
            "/etc/passwd",
            "leak/secret",
            "leak/*",
            "src/../../outside",
        ];
        assert_eq!(found(&paths(&patterns), &tree, b""), Vec::<String>::new());
        // The link itself may be selected like any other path.
        assert_eq!(found(&paths(&["leak"]), &tree, b""), ["leak"]);
        let everything = found(&paths(&["**"]), &tree, b"");
        assert!(
            !everything.iter().any(|path| path.contains("secret")),
            "{everything:?}"
        );
    }

    #[test]
    fn untracked_and_exclude() {
        let (_dir, tree) = sample();
        let selection = Selection {
            paths: vec!["target".into()],
            exclude: vec!["**/*.o".into()],
            untracked: true,
        };
        let untracked = b"ghosts.txt\0target/x.o\0../evil\0/etc/passwd\0";
        let selected = selection.find(&tree, untracked).unwrap();
        let names: Vec<_> = selected.paths.iter().map(|p| p.to_str().unwrap()).collect();
        assert_eq!(names, ["ghosts.txt", "target", "target/deep"]);
        assert_eq!(
            selected.report,
            [
                Found::Pattern {
                    pattern: "target".into(),
                    count: 4
                },
                Found::Untracked { count: 2 },
                Found::Excluded { count: 2 },
            ]
        );
    }
}
