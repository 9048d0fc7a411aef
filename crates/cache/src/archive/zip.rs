//! Zip archives: GitLab's format for caches and artifacts.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use jiff::tz::Offset;
use jiff::{Timestamp, civil};
use rustix::fs::FileType;
use zip::extra_fields::ExtraField;
use zip::read::ZipFile;
use zip::write::{FullFileOptions, SimpleFileOptions};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::{
    Attributes, Contents, Kind, Level, Owner, Stat, Tree, Unpacked, is_skippable, parallel,
    relative,
};
use crate::CacheError;

/// A symlink's target longer than this is no symlink (Linux: `PATH_MAX`).
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
) -> Result<Contents, CacheError> {
    let mut zip = ZipWriter::new(BufWriter::new(out));
    let mut contents = Contents::default();
    let mut files = Vec::new();
    for path in paths {
        match tree.stat(path) {
            Ok(stat) if stat.kind == Kind::File => files.push((path.clone(), stat)),
            Ok(stat) if stat.kind == Kind::Special => contents.skipped += 1,
            Ok(stat) => {
                add_plain(&mut zip, tree, path, stat)?;
                contents.entries += 1;
            }
            Err(error) if is_skippable(&error) => contents.skipped += 1,
            Err(error) => return Err(CacheError::file("read", path)(error)),
        }
    }
    let added = parallel::add_files(&mut zip, tree, &files, level)?;
    contents.entries += added.entries;
    contents.skipped += added.skipped;
    let mut out = zip.finish().map_err(write_error)?;
    out.flush().map_err(|e| CacheError::Write(e.to_string()))?;
    Ok(contents)
}

/// Adds a folder or a symlink.
fn add_plain(
    zip: &mut ZipWriter<BufWriter<File>>,
    tree: &Tree,
    path: &Path,
    stat: Stat,
) -> Result<(), CacheError> {
    let target = match stat.kind {
        Kind::Symlink => tree
            .read_link(path)
            .map_err(CacheError::file("read", path))?,
        _ => PathBuf::new(),
    };
    start(zip, path, stat, Level::Default)?;
    zip.write_all(target.as_os_str().as_bytes())
        .map_err(|e| CacheError::Write(e.to_string()))
}

/// Begins an entry. Its name is the path's bytes, whether they are UTF-8 or not, as GitLab Runner
/// writes it.
pub(super) fn start(
    zip: &mut ZipWriter<BufWriter<File>>,
    path: &Path,
    stat: Stat,
    level: Level,
) -> Result<(), CacheError> {
    let mut name = path.as_os_str().as_bytes().to_vec();
    let mut options = options(stat, level)?;
    if stat.kind == Kind::Directory {
        name.push(b'/');
    }
    if stat.kind != Kind::File {
        // There is nothing in it that could be made smaller.
        options = options
            .compression_method(CompressionMethod::Stored)
            .compression_level(None);
    }
    zip.start_file_with_options(options.name(&name))
        .map_err(write_error)
}

/// Owner, kind, mode and both times (the old field holds two-second steps without a time zone; the extended
/// one, which all unpackers prefer, the second).
pub(super) fn options(
    stat: Stat,
    level: Level,
) -> Result<FullFileOptions<'static, 'static>, CacheError> {
    let mut options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(level.deflate()))
        .external_attributes((kind_bits(stat.kind) | stat.mode) << 16)
        .large_file(stat.size >= zip::ZIP64_BYTES_THR);
    if let Some(time) = dos_time(stat.modified) {
        options = options.last_modified_time(time);
    }
    let mut options = match u32::try_from(stat.modified) {
        Ok(seconds) => options
            .with_extended_timestamp(Some(seconds), None, None)
            .map_err(write_error)?,
        Err(_) => options.into_full_options(),
    };
    options
        .add_extra_field(OWNER, owner_field(stat.owner), false)
        .map_err(write_error)?;
    Ok(options)
}

/// The bits of a mode that say what a file is.
fn kind_bits(kind: Kind) -> u32 {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::File | Kind::Special => FileType::RegularFile,
    }
    .as_raw_mode()
}

/// Info-ZIP's field for user and group ("ux"): its version, then each number behind its length.
const OWNER: u16 = 0x7875;

fn owner_field(owner: Owner) -> [u8; 11] {
    let mut field = [0; 11];
    field[0] = 1;
    field[1] = 4;
    field[2..6].copy_from_slice(&owner.user.to_le_bytes());
    field[6] = 4;
    field[7..].copy_from_slice(&owner.group.to_le_bytes());
    field
}

fn owner<R: Read>(entry: &ZipFile<'_, R>) -> Option<Owner> {
    entry.extra_data_fields().find_map(|field| match field {
        ExtraField::Custom(field) if field.header_id == OWNER => read_owner(&field.data),
        _ => None,
    })
}

/// Reads the field in the only form that anybody writes: four bytes a number.
fn read_owner(field: &[u8]) -> Option<Owner> {
    let [1, 4, u0, u1, u2, u3, 4, g0, g1, g2, g3] = *field else {
        return None;
    };
    Some(Owner {
        user: u32::from_le_bytes([u0, u1, u2, u3]),
        group: u32::from_le_bytes([g0, g1, g2, g3]),
    })
}

fn dos_time(seconds: i64) -> Option<DateTime> {
    let time = Offset::UTC.to_datetime(Timestamp::from_second(seconds).ok()?);
    DateTime::from_date_and_time(
        u16::try_from(time.year()).ok()?,
        u8::try_from(time.month()).ok()?,
        u8::try_from(time.day()).ok()?,
        u8::try_from(time.hour()).ok()?,
        u8::try_from(time.minute()).ok()?,
        u8::try_from(time.second()).ok()?,
    )
    .ok()
}

/// Unpacks an archive into `tree`, all but the attributes of its folders.
pub(super) fn unpack(tree: &Tree, archive: File) -> Result<Unpacked, CacheError> {
    let mut zip = ZipArchive::new(BufReader::new(archive)).map_err(read_error)?;
    let mut contents = Contents::default();
    let mut folders = Vec::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(read_error)?;
        let path = relative(entry.name_raw())?;
        if path.as_os_str().is_empty() {
            continue;
        }
        let attributes = attributes(&entry);
        let put = CacheError::file("write", &path);
        if entry.is_dir() {
            tree.make_dir(&path).map_err(put)?;
            folders.push((path, attributes));
        } else if entry.is_symlink() {
            let target = link_target(&mut entry)?;
            tree.symlink(&path, &target, &attributes).map_err(put)?;
        } else {
            tree.write(&path, &attributes, &mut entry).map_err(put)?;
        }
        contents.entries += 1;
    }
    Ok(Unpacked { contents, folders })
}

fn attributes<R: Read>(entry: &ZipFile<'_, R>) -> Attributes {
    let usual = if entry.is_dir() { 0o777 } else { 0o644 };
    Attributes {
        mode: entry.unix_mode().unwrap_or(usual),
        modified: modified(entry),
        owner: owner(entry),
    }
}

fn link_target<R: Read>(entry: &mut ZipFile<'_, R>) -> Result<PathBuf, CacheError> {
    let mut target = Vec::new();
    entry
        .take(LONGEST_TARGET + 1)
        .read_to_end(&mut target)
        .map_err(|e| CacheError::Archive(e.to_string()))?;
    if target.is_empty() || target.len() as u64 > LONGEST_TARGET || target.contains(&0) {
        return Err(CacheError::Archive(
            "a symlink without a usable target".into(),
        ));
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

pub(super) fn write_error(error: zip::result::ZipError) -> CacheError {
    CacheError::Write(io::Error::from(error).to_string())
}

fn read_error(error: zip::result::ZipError) -> CacheError {
    CacheError::Archive(io::Error::from(error).to_string())
}
