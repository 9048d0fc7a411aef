//! A repository that an earlier job left: whether it can be taken up, and what is taken out of it.
//!
//! That job could write to all of it. Only what is known to be harmless is left in it; where there
//! is anything else, the repository is cloned anew.

use std::fs;
use std::path::{Path, PathBuf};

use onspot_cache::archive::Kind;
use walkdir::{DirEntry, WalkDir};

use super::super::request::Place;
use super::super::{HelperError, place};

/// What stays of a `.git`: data, by which git runs nothing.
const KEPT: [&str; 10] = [
    "FETCH_HEAD",
    "HEAD",
    "ORIG_HEAD",
    "description",
    "index",
    "lfs",
    "objects",
    "packed-refs",
    "refs",
    "shallow",
];

/// What is removed of it: git makes it anew if it needs it.
const REMOVED: [&str; 8] = [
    "COMMIT_EDITMSG",
    "branches",
    "config",
    "config.worktree",
    "hooks",
    "info",
    "logs",
    // What it says of commits is not checked against them.
    "objects/info",
];

/// Where a repository says that its objects are elsewhere.
const ALTERNATES: [&str; 2] = ["objects/info/alternates", "objects/info/http-alternates"];

/// Whether an earlier job left a repository that holds nothing but what is known.
pub(super) fn is_sound(at: &Place) -> bool {
    let is_there = place::open(at).is_ok_and(|tree| {
        let is = |path: &str, kind| {
            tree.stat(Path::new(path))
                .is_ok_and(|stat| stat.kind == kind)
        };
        is(".git", Kind::Directory)
            && is(".git/HEAD", Kind::File)
            && is(".git/objects", Kind::Directory)
            && is(".git/refs", Kind::Directory)
    });
    let git = folder(at);
    is_there
        && ALTERNATES
            .iter()
            .all(|name| fs::symlink_metadata(git.join(name)).is_err())
        && WalkDir::new(&git)
            .min_depth(1)
            .into_iter()
            .all(|entry| entry.is_ok_and(|entry| is_known(&entry)))
}

/// Plain files and folders under names that git itself gives them; no link leads elsewhere.
fn is_known(entry: &DirEntry) -> bool {
    let kind = entry.file_type();
    let name = entry.file_name().to_str().unwrap_or_default();
    let is_named = entry.depth() > 1
        || KEPT.contains(&name)
        || REMOVED.contains(&name)
        || (is_lock(entry.path()) && kind.is_file());
    is_named && (kind.is_dir() || kind.is_file())
}

/// Removes from a repository what an earlier job may have put in to run in this one, and locks
/// that it left when it was killed.
pub(super) fn disarm(at: &Place) -> Result<(), HelperError> {
    let git = folder(at);
    for name in REMOVED {
        place::remove(&git.join(name))?;
    }
    let locks = WalkDir::new(&git).into_iter().filter_map(Result::ok);
    for entry in locks.filter(|entry| is_lock(entry.path())) {
        place::remove(entry.path())?;
    }
    Ok(())
}

fn is_lock(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "lock")
}

fn folder(at: &Place) -> PathBuf {
    Path::new(&at.project_dir()).join(".git")
}
