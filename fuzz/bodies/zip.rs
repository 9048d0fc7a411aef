//! Unpacks any bytes as a zip archive: nothing outside changes, and no limit is exceeded.

use std::fs::{self, File};
use std::path::Path;

use onspot_cache::archive::{self, Limits, Tree};

const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    entries: 1000,
};

/// One input.
pub fn run(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    for folder in ["to", "aside", "outside"] {
        fs::create_dir(path(folder)).expect("a folder");
    }
    fs::write(path("outside/victim"), "mine").expect("a file");
    fs::write(path("archive"), data).expect("a file");
    let tree = |name: &str| Tree::open(&path(name)).expect("a folder");
    let archive = || File::open(path("archive")).expect("the archive");
    let _ = archive::extract_by_way_of(&tree("aside"), &tree("to"), archive(), LIMITS);
    let _ = archive::extract(&tree("to"), archive(), LIMITS);

    let mut names: Vec<_> = fs::read_dir(dir.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["archive", "aside", "outside", "to"]);
    assert_eq!(fs::read_dir(path("outside")).expect("it").count(), 1);
    let victim = fs::read(path("outside/victim")).expect("the victim");
    assert_eq!(victim, b"mine");
    // Both unpacked at most once.
    assert!(size(&path("to")) <= 2 * LIMITS.bytes);
}

fn size(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.path().symlink_metadata() else {
            continue;
        };
        if metadata.is_dir() {
            bytes += size(&entry.path());
        } else if metadata.is_file() {
            bytes += metadata.len();
        }
    }
    bytes
}
