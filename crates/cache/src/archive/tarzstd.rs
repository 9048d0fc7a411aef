//! Tar archives compressed by zstd: faster than zip for many small files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::{
    Attributes, Contents, Kind, Level, Limits, Owner, Stat, Tree, Unpacked, is_skippable, relative,
};
use crate::Error;

/// Writes an archive of the given paths (relative to `tree`).
///
/// # Errors
/// If the archive cannot be written. Paths that vanished or cannot be read are skipped.
pub fn create(
    tree: &Tree,
    paths: &BTreeSet<PathBuf>,
    level: Level,
    out: File,
) -> Result<Contents, Error> {
    let mut encoder = zstd::Encoder::new(BufWriter::new(out), level.zstd()).map_err(write_error)?;
    // Zip has a checksum for each entry; tar has none.
    encoder.include_checksum(true).map_err(write_error)?;
    let mut tar = tar::Builder::new(encoder);
    let mut contents = Contents::default();
    for path in paths {
        let added = match tree.stat(path) {
            Ok(stat) => add(&mut tar, tree, path, stat)?,
            Err(error) if is_skippable(&error) => false,
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        if added {
            contents.entries += 1;
        } else {
            contents.skipped += 1;
        }
    }
    let encoder = tar.into_inner().map_err(write_error)?;
    let mut out = encoder.finish().map_err(write_error)?;
    out.flush().map_err(write_error)?;
    Ok(contents)
}

fn add(
    tar: &mut tar::Builder<impl Write>,
    tree: &Tree,
    path: &Path,
    stat: Stat,
) -> Result<bool, Error> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(stat.mode);
    header.set_mtime(u64::try_from(stat.modified).unwrap_or(0));
    header.set_uid(stat.owner.user.into());
    header.set_gid(stat.owner.group.into());
    header.set_size(0);
    match stat.kind {
        Kind::Special => return Ok(false),
        Kind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, path, io::empty())
                .map_err(write_error)?;
        }
        Kind::Symlink => {
            let target = tree.read_link(path).map_err(Error::file("read", path))?;
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, &target)
                .map_err(write_error)?;
        }
        Kind::File => {
            let file = match tree.read(path) {
                Ok(file) => file,
                Err(error) if is_skippable(&error) => return Ok(false),
                Err(error) => return Err(Error::file("read", path)(error)),
            };
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(stat.size);
            // Exactly as many bytes as the header says, even if the file changes meanwhile.
            let padded = file.chain(io::repeat(0)).take(stat.size);
            tar.append_data(&mut header, path, padded)
                .map_err(write_error)?;
        }
    }
    Ok(true)
}

/// Unpacks an archive into `tree`, except for the attributes of its folders.
pub(super) fn unpack(tree: &Tree, archive: File, limits: Limits) -> Result<Unpacked, Error> {
    let decoder = zstd::Decoder::new(BufReader::new(archive)).map_err(read_error)?;
    let mut tar = tar::Archive::new(decoder);
    let mut unpacked = Unpacked::within(limits);
    for entry in tar.entries().map_err(read_error)? {
        let mut entry = entry.map_err(read_error)?;
        let path = relative(&entry.path_bytes())?;
        if path.as_os_str().is_empty() {
            continue;
        }
        let attributes = attributes(entry.header());
        let put = Error::file("write", &path);
        match entry.header().entry_type() {
            tar::EntryType::Directory => {
                unpacked.count(&path)?;
                tree.make_dir(&path).map_err(put)?;
                unpacked.folders.push((path, attributes));
            }
            tar::EntryType::Symlink => {
                unpacked.count(&path)?;
                let target = entry.link_name().map_err(read_error)?;
                let target =
                    target.ok_or_else(|| Error::Archive("a symlink without a target".into()))?;
                tree.symlink(&path, &target, &attributes).map_err(put)?;
            }
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                unpacked.count(&path)?;
                unpacked.write(tree, &path, &attributes, &mut entry)?;
            }
            // Hard links could point outside, and a build folder needs no devices.
            _ => unpacked.contents.skipped += 1,
        }
    }
    // The checksum follows the end of the tar file.
    let rest = tar
        .into_inner()
        .take(unpacked.bytes_left().saturating_add(1));
    io::copy(&mut { rest }, &mut io::sink()).map_err(read_error)?;
    Ok(unpacked)
}

fn attributes(header: &tar::Header) -> Attributes {
    let id = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok());
    let owner = id(header.uid()).zip(id(header.gid()));
    Attributes {
        mode: header.mode().unwrap_or(0o644),
        modified: header
            .mtime()
            .ok()
            .and_then(|time| i64::try_from(time).ok()),
        owner: owner.map(|(user, group)| Owner { user, group }),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn write_error(error: io::Error) -> Error {
    Error::Write(error.to_string())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn read_error(error: io::Error) -> Error {
    Error::Archive(error.to_string())
}
