//! Tells whether files are still those of an archive, without reading them.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, statat};

use super::Tree;

/// A number for a set of names, whatever their order.
pub fn sum_of_names(paths: &BTreeSet<PathBuf>) -> u64 {
    paths
        .iter()
        .fold(0, |sum: u64, path| sum.wrapping_add(sum_of_name(path)))
}

pub(super) fn sum_of_name(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.as_os_str().hash(&mut hasher);
    hasher.finish()
}

/// A text that is the same as long as the files are: their names, kinds, modes, sizes, times and
/// numbers, all of which a job would have to keep to change a file unnoticed. Only good for
/// comparison within one version of this program.
///
/// # Errors
/// If one of them cannot be looked at.
pub fn fingerprint(tree: &Tree, paths: &BTreeSet<PathBuf>) -> io::Result<String> {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        path.as_os_str().hash(&mut hasher);
        identity(tree, path)?.hash(&mut hasher);
    }
    Ok(format!("{}-{:016x}", paths.len(), hasher.finish()))
}

/// Kind and mode, size, time to the nanosecond, and number of a file. The owner is not part of it:
/// all files may be given to the job's user.
fn identity(tree: &Tree, path: &Path) -> io::Result<[i128; 5]> {
    let (parent, name) = tree.parent(path, false)?;
    let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok([
        stat.st_mode.into(),
        stat.st_size.into(),
        stat.st_mtime.into(),
        stat.st_mtime_nsec.into(),
        stat.st_ino.into(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_changes_comes_or_goes_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "one").unwrap();
        let paths = BTreeSet::from([PathBuf::from("a")]);
        let before = fingerprint(&tree, &paths).unwrap();
        assert_eq!(fingerprint(&tree, &paths).unwrap(), before);

        // Another file of the same size and time.
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(dir.path().join("b"), "two").unwrap();
        fs::File::open(dir.path().join("b"))
            .unwrap()
            .set_modified(time)
            .unwrap();
        fs::rename(dir.path().join("b"), &file).unwrap();
        assert_ne!(fingerprint(&tree, &paths).unwrap(), before);

        fs::remove_file(&file).unwrap();
        assert!(fingerprint(&tree, &paths).is_err());
        assert_ne!(fingerprint(&tree, &BTreeSet::new()).unwrap(), before);
    }

    #[test]
    fn names_add_up_in_any_order() {
        let sum = |names: &[&str]| sum_of_names(&names.iter().map(PathBuf::from).collect());
        assert_eq!(sum(&["a", "b/c"]), sum(&["b/c", "a"]));
        assert_ne!(sum(&["a", "b"]), sum(&["a", "c"]));
    }
}
