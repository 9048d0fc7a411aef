//! Archives of a build folder: made and unpacked without ever leaving it.
//!
//! Regular files, folders and symlinks are stored as such; symlinks are never followed; FIFOs,
//! sockets and devices are skipped. Unpacking writes beneath its folder only, whatever names and
//! symlinks the archive holds.

mod parallel;
pub mod tarzstd;
mod tree;
pub mod zip;

use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::tree::{Kind, Stat, Tree};
use crate::CacheError;

/// How an archive is stored. GitLab Runner's `CACHE_COMPRESSION_FORMAT` and its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A zip file with deflated entries.
    #[default]
    Zip,
    /// A tar file, compressed by zstd.
    TarZstd,
}

impl Format {
    /// Reads the value of `CACHE_COMPRESSION_FORMAT`; unknown ones mean zip, as in GitLab Runner.
    pub fn parse(text: &str) -> Self {
        if text.trim().eq_ignore_ascii_case("tarzstd") {
            Self::TarZstd
        } else {
            Self::Zip
        }
    }
}

/// How hard to compress. GitLab Runner's `CACHE_COMPRESSION_LEVEL` and
/// `ARTIFACT_COMPRESSION_LEVEL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Least time.
    Fastest,
    /// Little time.
    Fast,
    /// The usual.
    #[default]
    Default,
    /// More time.
    Slow,
    /// Least size.
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
            Self::Fastest => 1,
            Self::Fast => 3,
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

/// What an archive holds, once made or unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contents {
    /// Files, folders and symlinks.
    pub entries: u64,
    /// FIFOs, sockets, devices, and files that vanished or cannot be read.
    pub skipped: u64,
}

/// Unpacks an archive of either format, told apart by its first bytes.
///
/// # Errors
/// If the archive is broken, an entry would lie outside `tree`, or a file cannot be written.
/// What was unpacked before stays.
pub fn extract(tree: &Tree, archive: std::fs::File) -> Result<Contents, CacheError> {
    use std::io::{Read, Seek};
    let mut archive = archive;
    let mut magic = [0; 4];
    let read = archive
        .read(&mut magic)
        .map_err(|e| CacheError::Archive(e.to_string()))?;
    archive
        .rewind()
        .map_err(|e| CacheError::Archive(e.to_string()))?;
    if magic[..read] == [0x28, 0xb5, 0x2f, 0xfd] {
        tarzstd::extract(tree, archive)
    } else {
        zip::extract(tree, archive)
    }
}

/// An entry's name as a path beneath the folder.
fn relative(name: &str) -> Result<PathBuf, CacheError> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => path.push(part),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(CacheError::Escapes {
                    name: name.to_owned(),
                });
            }
        }
    }
    if name.contains('\0') {
        return Err(CacheError::Escapes {
            name: name.to_owned(),
        });
    }
    Ok(path)
}

/// Whether a file simply cannot be archived, so that it is left out rather than failing all.
fn is_skippable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests;
