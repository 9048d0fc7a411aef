//! Reusing an earlier job's repository: whether it can be reused, and what is removed from it
//! first.
//!
//! The earlier job could write to all of it, so only its objects are reused: they cannot make git
//! run anything, and their names are hashes of their content. Everything that points to objects
//! (references, the index) is recreated, as in a fresh clone. For a protected reference the objects
//! are checked too: loose ones are removed, packs get a new index, and files of git-lfs are
//! compared with their names. If there is anything unknown, the repository is cloned again.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use onspot_cache::archive::Kind;
use sha2::{Digest as _, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::request::Place;
use super::{HelperError, place};

/// What is kept of a `.git`: data that cannot make git run anything.
const KEPT: [&str; 4] = ["description", "lfs", "objects", "shallow"];

/// What is removed from it; git recreates it if needed.
const REMOVED: [&str; 13] = [
    "COMMIT_EDITMSG",
    "FETCH_HEAD",
    "ORIG_HEAD",
    "branches",
    "config",
    "config.worktree",
    "hooks",
    // It could exclude files from being checked.
    "index",
    "info",
    "logs",
    // Its statements about commits are not verified by git.
    "objects/info",
    // Tags and replacements that nobody has pushed.
    "packed-refs",
    "refs",
];

/// The checked-out commit; rewritten.
const HEAD: &str = "HEAD";

/// The folder of its submodules' repositories.
const MODULES: &str = "modules";

/// Files by which a repository refers to objects elsewhere.
const ALTERNATES: [&str; 2] = ["objects/info/alternates", "objects/info/http-alternates"];

/// How many commits the server is told of: more than a job's own references.
const MOST_TIPS: usize = 256;

/// Facts about a reused repository.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct TakenUp {
    /// Commits that it may contain, according to its references.
    pub(super) tips: Vec<String>,
    /// The commit that was checked out.
    pub(super) head: Option<String>,
    /// Whether its history is shallow.
    pub(super) is_shallow: bool,
    /// How many packs it has.
    pub(super) packs: usize,
    /// Packs that have no index yet.
    pub(super) unverified: Vec<String>,
    /// Its submodules.
    pub(super) modules: Modules,
}

/// What is known of reused submodules, by their names.
pub(super) type Modules = BTreeMap<String, TakenUp>;

/// Whether an earlier job left a repository with only known contents.
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

/// Regular files and folders with git's own names; symlinks are not accepted.
fn is_known(entry: &DirEntry) -> bool {
    let kind = entry.file_type();
    let name = entry.file_name().to_str().unwrap_or_default();
    let is_named = entry.depth() > 1
        || name == HEAD
        || KEPT.contains(&name)
        || REMOVED.contains(&name)
        || name == MODULES
        || (is_lock(entry.path()) && kind.is_file());
    is_named && (kind.is_dir() || kind.is_file())
}

/// Removes everything from a repository by which an earlier job could affect this one, and stale
/// locks of killed processes. Its submodules stay only if they are wanted: without a configuration
/// they would be in the way of the job's own git commands.
pub(super) fn disarm(
    at: &Place,
    protected: bool,
    with_modules: bool,
) -> Result<TakenUp, HelperError> {
    let git = folder(at);
    if !with_modules {
        place::remove(&git.join(MODULES))?;
    }
    disarm_repository(&git, protected)
}

fn disarm_repository(git: &Path, protected: bool) -> Result<TakenUp, HelperError> {
    let modules = git.join(MODULES);
    let mut taken_up = TakenUp {
        modules: disarm_modules(&modules, &modules, protected)?,
        tips: tips(git),
        head: read(&git.join(HEAD)).and_then(|head| commit(head.trim())),
        is_shallow: fs::metadata(git.join("shallow")).is_ok_and(|file| file.len() > 0),
        packs: packs(&git.join("objects/pack")),
        unverified: Vec::new(),
    };
    for name in REMOVED {
        place::remove(&git.join(name))?;
    }
    let head = git.join(HEAD);
    fs::write(&head, "ref: refs/heads/none\n").map_err(HelperError::file("write", &head))?;
    let locks = WalkDir::new(git).into_iter().filter_map(Result::ok);
    for entry in locks.filter(|entry| is_lock(entry.path())) {
        place::remove(entry.path())?;
    }
    if protected {
        taken_up.unverified = only_packs(&git.join("objects"))?;
        only_true_names(&git.join("lfs"))?;
    }
    Ok(taken_up)
}

/// The same for the submodules in a folder. Their names are paths in it, with any folders on the
/// way; whatever else is there is removed.
fn disarm_modules(root: &Path, folder: &Path, protected: bool) -> Result<Modules, HelperError> {
    let mut modules = Modules::new();
    if !folder.is_dir() {
        return Ok(modules);
    }
    for path in entries(folder)? {
        if !path.is_dir() {
            place::remove(&path)?;
        } else if path.join(HEAD).is_file() && path.join("objects").is_dir() {
            remove_unknown(&path)?;
            let name = path.strip_prefix(root).ok().and_then(Path::to_str);
            let kept = disarm_repository(&path, protected)?;
            match name {
                Some(name) => drop(modules.insert(name.to_owned(), kept)),
                None => place::remove(&path)?,
            }
        } else {
            modules.extend(disarm_modules(root, &path, protected)?);
        }
    }
    Ok(modules)
}

fn remove_unknown(git: &Path) -> Result<(), HelperError> {
    for path in entries(git)? {
        let name = path.file_name().and_then(|name| name.to_str());
        let is_known = |name: &str| name == HEAD || name == MODULES || KEPT.contains(&name);
        // What is known but removed gives the commits that were referenced before.
        let is_read = |name: &str| matches!(name, "refs" | "packed-refs");
        if !name.is_some_and(|name| is_known(name) || is_read(name)) {
            place::remove(&path)?;
        }
    }
    Ok(())
}

fn packs(folder: &Path) -> usize {
    let is_one = |path: &&PathBuf| path.extension().is_some_and(|kind| kind == "pack");
    entries(folder).map_or(0, |all| all.iter().filter(is_one).count())
}

/// Removes all objects except packs, and returns the packs.
fn only_packs(objects: &Path) -> Result<Vec<String>, HelperError> {
    for path in entries(objects)? {
        if path.file_name() != Some("pack".as_ref()) {
            place::remove(&path)?;
        }
    }
    let folder = objects.join("pack");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut packs = Vec::new();
    for path in entries(&folder)? {
        let name = path.file_name().and_then(|name| name.to_str());
        match name.filter(|name| is_pack(name) && path.is_file()) {
            Some(name) => packs.push(name.to_owned()),
            None => place::remove(&path)?,
        }
    }
    packs.sort_unstable();
    Ok(packs)
}

/// `pack-<hash>.pack`.
fn is_pack(name: &str) -> bool {
    name.strip_prefix("pack-")
        .and_then(|name| name.strip_suffix(".pack"))
        .is_some_and(|hash| hash.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Removes files of git-lfs whose content does not match their name.
fn only_true_names(lfs: &Path) -> Result<(), HelperError> {
    if !lfs.exists() {
        return Ok(());
    }
    let objects = lfs.join("objects");
    for path in entries(lfs)? {
        if path != objects {
            place::remove(&path)?;
        }
    }
    let files = WalkDir::new(&objects).into_iter().filter_map(Result::ok);
    for entry in files.filter(|entry| !entry.file_type().is_dir()) {
        if !holds_its_name(&entry) {
            place::remove(entry.path())?;
        }
    }
    Ok(())
}

fn holds_its_name(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_str().unwrap_or_default();
    entry.file_type().is_file() && hash(entry.path()).is_ok_and(|hash| hash == name)
}

fn hash(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}

/// Commits that a repository may contain: HEAD and its references.
fn tips(git: &Path) -> Vec<String> {
    let loose = WalkDir::new(git.join("refs"))
        .sort_by_file_name()
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| read(entry.path()));
    let packed = read(&git.join("packed-refs")).unwrap_or_default();
    let packed = packed
        .lines()
        .filter_map(|line| commit(line.split(' ').next()?));
    let mut tips = Vec::new();
    for tip in read(&git.join(HEAD))
        .into_iter()
        .chain(loose)
        .filter_map(|text| commit(text.trim()))
        .chain(packed)
    {
        if tips.len() < MOST_TIPS && !tips.contains(&tip) {
            tips.push(tip);
        }
    }
    tips
}

/// A text that may be an object's name.
fn commit(text: &str) -> Option<String> {
    let is_hash = matches!(text.len(), 40 | 64)
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'));
    is_hash.then(|| text.to_owned())
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, HelperError> {
    let failed = |error| HelperError::file("read", folder)(error);
    fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| Ok(entry.map_err(failed)?.path()))
        .collect()
}

fn is_lock(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "lock")
}

fn folder(at: &Place) -> PathBuf {
    Path::new(&at.project_dir()).join(".git")
}
