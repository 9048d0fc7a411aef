//! Zip archives: GitLab's format for caches and artifacts.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use jiff::civil;
use jiff::tz::Offset;
use zip::extra_fields::ExtraField;
use zip::read::ZipFile;
use zip::{ZipArchive, ZipWriter};

use super::entry::{OWNER, Packing, start, write_error};
use super::{
    Attributes, Contents, Kind, Level, Limits, Owner, Stat, Tree, Unpacked, is_skippable, parallel,
    relative,
};
use crate::Error;

/// The longest target of a symlink (Linux: `PATH_MAX`); longer ones are refused.
const LONGEST_TARGET: u64 = 4096;

/// Writes an archive of the given paths (relative to `tree`), small files compressed on all
/// processors at once.
///
/// # Errors
/// If the archive cannot be written. Paths that vanished or cannot be read are skipped.
pub fn create(
    tree: &Tree,
    paths: &BTreeSet<PathBuf>,
    level: Level,
    out: File,
) -> Result<Contents, Error> {
    create_with(tree, paths, Packing::deflate(level), out)
}

/// Like [`create`], compressed by zstd instead of deflated: not every unzip reads that.
///
/// # Errors
/// See [`create`].
pub fn create_zstd(
    tree: &Tree,
    paths: &BTreeSet<PathBuf>,
    level: Level,
    out: File,
) -> Result<Contents, Error> {
    create_with(tree, paths, Packing::zstd(level), out)
}

fn create_with(
    tree: &Tree,
    paths: &BTreeSet<PathBuf>,
    packing: Packing,
    out: File,
) -> Result<Contents, Error> {
    let mut zip = ZipWriter::new(BufWriter::new(out));
    let mut contents = Contents::default();
    let mut files = Vec::new();
    for path in paths {
        match tree.stat(path) {
            Ok(stat) if stat.kind == Kind::File => files.push((path.clone(), stat)),
            Ok(stat) if stat.kind == Kind::Special => contents.skipped += 1,
            Ok(stat) => {
                add_plain(&mut zip, tree, path, stat, packing)?;
                contents.entries += 1;
            }
            Err(error) if is_skippable(&error) => contents.skipped += 1,
            Err(error) => return Err(Error::file("read", path)(error)),
        }
    }
    let added = parallel::add_files(&mut zip, tree, &files, packing)?;
    contents.entries += added.entries;
    contents.skipped += added.skipped;
    let mut out = zip.finish().map_err(write_error)?;
    out.flush().map_err(|e| Error::Write(e.to_string()))?;
    Ok(contents)
}

/// Adds a folder or a symlink.
fn add_plain(
    zip: &mut ZipWriter<BufWriter<File>>,
    tree: &Tree,
    path: &Path,
    stat: Stat,
    packing: Packing,
) -> Result<(), Error> {
    let target = match stat.kind {
        Kind::Symlink => tree.read_link(path).map_err(Error::file("read", path))?,
        _ => PathBuf::new(),
    };
    start(zip, path, stat, packing)?;
    zip.write_all(target.as_os_str().as_bytes())
        .map_err(|e| Error::Write(e.to_string()))
}

fn owner<R: Read>(entry: &ZipFile<'_, R>) -> Option<Owner> {
    entry.extra_data_fields().find_map(|field| match field {
        ExtraField::Custom(field) if field.header_id == OWNER => read_owner(&field.data),
        _ => None,
    })
}

/// Reads the field in the only form in use: four bytes for each number.
fn read_owner(field: &[u8]) -> Option<Owner> {
    let [1, 4, u0, u1, u2, u3, 4, g0, g1, g2, g3] = *field else {
        return None;
    };
    Some(Owner {
        user: u32::from_le_bytes([u0, u1, u2, u3]),
        group: u32::from_le_bytes([g0, g1, g2, g3]),
    })
}

/// Unpacks an archive into `tree`, except for the attributes of its folders.
pub(super) fn unpack(tree: &Tree, archive: File, limits: Limits) -> Result<Unpacked, Error> {
    let mut zip = ZipArchive::new(BufReader::new(archive)).map_err(read_error)?;
    let mut unpacked = Unpacked::within(limits);
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(read_error)?;
        let path = relative(entry.name_raw())?;
        if path.as_os_str().is_empty() {
            continue;
        }
        unpacked.count(&path)?;
        let attributes = attributes(&entry);
        let put = Error::file("write", &path);
        if entry.is_dir() {
            tree.make_dir(&path).map_err(put)?;
            unpacked.folders.push((path, attributes));
        } else if entry.is_symlink() {
            let target = link_target(&mut entry)?;
            tree.symlink(&path, &target, &attributes).map_err(put)?;
        } else {
            unpacked.write(tree, &path, &attributes, &mut entry)?;
        }
    }
    Ok(unpacked)
}

fn attributes<R: Read>(entry: &ZipFile<'_, R>) -> Attributes {
    let usual = if entry.is_dir() { 0o777 } else { 0o644 };
    Attributes {
        mode: entry.unix_mode().unwrap_or(usual),
        modified: modified(entry),
        owner: owner(entry),
    }
}

fn link_target<R: Read>(entry: &mut ZipFile<'_, R>) -> Result<PathBuf, Error> {
    let mut target = Vec::new();
    entry
        .take(LONGEST_TARGET + 1)
        .read_to_end(&mut target)
        .map_err(|e| Error::Archive(e.to_string()))?;
    if target.is_empty() || target.len() as u64 > LONGEST_TARGET || target.contains(&0) {
        return Err(Error::Archive("a symlink without a usable target".into()));
    }
    Ok(OsString::from_vec(target).into())
}

fn modified<R: Read>(entry: &ZipFile<'_, R>) -> Option<i64> {
    let extended = entry.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(times) => times.mod_time().map(i64::from),
        _ => None,
    });
    extended.or_else(|| {
        let time = entry.last_modified()?;
        let time = civil::DateTime::new(
            i16::try_from(time.year()).ok()?,
            i8::try_from(time.month()).ok()?,
            i8::try_from(time.day()).ok()?,
            i8::try_from(time.hour()).ok()?,
            i8::try_from(time.minute()).ok()?,
            i8::try_from(time.second()).ok()?.min(59),
            0,
        );
        Some(Offset::UTC.to_timestamp(time.ok()?).ok()?.as_second())
    })
}

fn read_error(error: zip::result::ZipError) -> Error {
    Error::Archive(io::Error::from(error).to_string())
}
