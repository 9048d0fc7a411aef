//! Creates and unpacks archives of a build folder without ever leaving the folder.
//!
//! Regular files, folders and symlinks are stored as such; symlinks are never followed; FIFOs,
//! sockets and devices are skipped. Unpacking writes only beneath its folder, whatever names and
//! symlinks the archive contains.

mod entry;
mod fingerprint;
mod limits;
mod parallel;
pub mod tarzstd;
mod tree;
pub mod zip;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::fingerprint::{fingerprint, sum_of_names};
pub use self::limits::Limits;
use self::limits::Unpacked;
pub use self::tree::{Attributes, Kind, Owner, Stat, Tree};
use crate::Error;

/// How an archive is stored. GitLab Runner's `CACHE_COMPRESSION_FORMAT` and its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A zip file with deflated entries.
    #[default]
    Zip,
    /// A tar file, compressed by zstd.
    TarZstd,
    /// A zip file with entries compressed by zstd.
    ZipZstd,
}

impl Format {
    /// Reads the value of `CACHE_COMPRESSION_FORMAT`; unknown ones mean zip, as in GitLab Runner.
    pub fn parse(text: &str) -> Self {
        match text.trim().to_ascii_lowercase().as_str() {
            "tarzstd" => Self::TarZstd,
            "zipzstd" => Self::ZipZstd,
            _ => Self::Zip,
        }
    }
}

/// How hard to compress. GitLab Runner's `CACHE_COMPRESSION_LEVEL` and
/// `ARTIFACT_COMPRESSION_LEVEL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Fastest, largest archive.
    Fastest,
    /// Faster than the default.
    Fast,
    /// The default.
    #[default]
    Default,
    /// Smaller than the default.
    Slow,
    /// Slowest, smallest archive.
    Slowest,
}

impl Level {
    /// Reads the value of a `…_COMPRESSION_LEVEL` variable; unknown ones mean the default.
    pub fn parse(text: &str) -> Self {
        match text.trim().to_ascii_lowercase().as_str() {
            "fastest" => Self::Fastest,
            "fast" => Self::Fast,
            "slow" => Self::Slow,
            "slowest" => Self::Slowest,
            _ => Self::Default,
        }
    }

    fn deflate(self) -> i64 {
        match self {
            Self::Fastest => 0,
            Self::Fast => 1,
            Self::Default => 6,
            Self::Slow => 8,
            Self::Slowest => 9,
        }
    }

    fn zstd(self) -> i32 {
        match self {
            Self::Fastest => 1,
            Self::Fast => 2,
            Self::Default => 3,
            Self::Slow => 7,
            Self::Slowest => 11,
        }
    }
}

/// Counts of what was packed or unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contents {
    /// Files, folders and symlinks.
    pub entries: u64,
    /// FIFOs, sockets, devices, and files that vanished or cannot be read.
    pub skipped: u64,
}

/// Writes an archive of the given paths (relative to `tree`).
///
/// # Errors
/// If the archive cannot be written. Paths that vanished or cannot be read are skipped.
pub fn create(
    format: Format,
    tree: &Tree,
    paths: &BTreeSet<PathBuf>,
    level: Level,
    out: File,
) -> Result<Contents, Error> {
    match format {
        Format::Zip => zip::create(tree, paths, level, out),
        Format::ZipZstd => zip::create_zstd(tree, paths, level, out),
        Format::TarZstd => tarzstd::create(tree, paths, level, out),
    }
}

/// Unpacks an archive of any format; the first bytes tell which.
///
/// # Errors
/// If the archive is broken or exceeds the limits, an entry would lie outside `tree`, or a file
/// cannot be written. Files already unpacked stay.
pub fn extract(tree: &Tree, archive: File, limits: Limits) -> Result<Contents, Error> {
    Ok(unpack(tree, archive, limits)?.finish(tree)?.contents)
}

/// What an archive held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// How much.
    pub contents: Contents,
    /// [`sum_of_names`] of its files, folders and symlinks.
    pub names: u64,
}

/// Unpacks an archive into an empty folder on the same file system, then moves everything to its
/// place, so that an archive broken halfway changes nothing.
///
/// # Errors
/// See [`extract`]; also if a folder is in a file's place or the other way round. In that case, or
/// if a file cannot be moved, files already moved stay.
pub fn extract_by_way_of(
    aside: &Tree,
    tree: &Tree,
    archive: File,
    limits: Limits,
) -> Result<Extracted, Error> {
    let unpacked = unpack(aside, archive, limits)?;
    for (folder, _) in &unpacked.folders {
        tree.make_dir(folder)
            .map_err(Error::file("write", folder))?;
    }
    move_all(aside, Path::new(""), tree)?;
    unpacked.finish(tree)
}

fn move_all(from: &Tree, folder: &Path, to: &Tree) -> Result<(), Error> {
    let read = |path: &Path| Error::file("read", path.to_owned());
    for name in from.names(folder).map_err(read(folder))? {
        let path = folder.join(name);
        if from.stat(&path).map_err(read(&path))?.kind == Kind::Directory {
            move_all(from, &path, to)?;
        } else {
            from.move_to(&path, to)
                .map_err(Error::file("write", &path))?;
        }
    }
    Ok(())
}

fn unpack(tree: &Tree, archive: File, limits: Limits) -> Result<Unpacked, Error> {
    use std::io::{Read, Seek};
    let mut archive = archive;
    let mut magic = [0; 4];
    let read = archive
        .read(&mut magic)
        .map_err(|e| Error::Archive(e.to_string()))?;
    archive
        .rewind()
        .map_err(|e| Error::Archive(e.to_string()))?;
    if magic[..read] == [0x28, 0xb5, 0x2f, 0xfd] {
        tarzstd::unpack(tree, archive, limits)
    } else {
        zip::unpack(tree, archive, limits)
    }
}

/// An entry's name as a path beneath the folder. Names are bytes, as on every Unix.
fn relative(name: &[u8]) -> Result<PathBuf, Error> {
    let escapes = || Error::Escapes {
        name: String::from_utf8_lossy(name).into_owned(),
    };
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => path.push(part),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(escapes());
            }
        }
    }
    if name.contains(&0) {
        return Err(escapes());
    }
    Ok(path)
}

/// Whether a file is skipped instead of failing the archive: it is gone, closed, became something
/// else since it was found, or is only reached by a symlink that leads outside.
fn is_skippable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::InvalidInput
    ) || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(test)]
mod tests;
