//! How much an archive may unpack: a few bytes can stand for a full disk.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::fingerprint::sum_of_name;
use super::{Attributes, Contents, Extracted, Tree};
use crate::Error;

/// More files than any folder of a job should have, and few enough that their names fit into
/// memory.
const MOST_ENTRIES: u64 = 4_000_000;

/// The most that an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, folders and symlinks.
    pub entries: u64,
}

impl Limits {
    /// Nine tenths of what the folder's file system has left: other jobs may have theirs on it.
    ///
    /// # Errors
    /// If the file system cannot be asked.
    pub fn of(tree: &Tree) -> std::io::Result<Self> {
        let space = tree.file_system()?;
        let most = |free: u64| free - free / 10;
        let mut entries = MOST_ENTRIES;
        // Some file systems do not count them.
        if space.f_files > 0 {
            entries = entries.min(most(space.f_favail));
        }
        Ok(Self {
            bytes: most(space.f_bavail.saturating_mul(space.f_frsize)),
            entries,
        })
    }
}

/// What was unpacked so far, and what may still be.
pub(super) struct Unpacked {
    pub(super) contents: Contents,
    /// In the archive's order: a folder before its contents.
    pub(super) folders: Vec<(PathBuf, Attributes)>,
    names: u64,
    limits: Limits,
    bytes: u64,
}

impl Unpacked {
    pub(super) fn within(limits: Limits) -> Self {
        Self {
            contents: Contents::default(),
            folders: Vec::new(),
            names: 0,
            limits,
            bytes: 0,
        }
    }

    /// Counts an entry before it is made.
    pub(super) fn count(&mut self, path: &Path) -> Result<(), Error> {
        if self.contents.entries >= self.limits.entries {
            return Err(Error::TooMany {
                most: self.limits.entries,
            });
        }
        self.contents.entries += 1;
        self.names = self.names.wrapping_add(sum_of_name(path));
        Ok(())
    }

    /// Writes a file. What the archive says of its size does not matter.
    pub(super) fn write(
        &mut self,
        tree: &Tree,
        path: &Path,
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> Result<(), Error> {
        let mut content = content.take(self.bytes_left().saturating_add(1));
        let size = tree
            .write(path, attributes, &mut content)
            .map_err(Error::file("write", path))?;
        if size > self.bytes_left() {
            return Err(Error::TooLarge {
                most: self.limits.bytes,
            });
        }
        self.bytes += size;
        Ok(())
    }

    pub(super) fn bytes_left(&self) -> u64 {
        self.limits.bytes - self.bytes
    }

    /// Gives the folders their attributes.
    pub(super) fn finish(self, tree: &Tree) -> Result<Extracted, Error> {
        // Deepest first: writing into a folder changes its time, and a read-only folder could not
        // be filled.
        for (path, attributes) in self.folders.into_iter().rev() {
            tree.finish_dir(&path, &attributes)
                .map_err(Error::file("write", &path))?;
        }
        Ok(Extracted {
            contents: self.contents,
            names: self.names,
        })
    }
}
