//! Zip archives: GitLab's format for caches and artifacts.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use jiff::tz::Offset;
use jiff::{Timestamp, civil};
use zip::extra_fields::ExtraField;
use zip::read::ZipFile;
use zip::write::{FullFileOptions, SimpleFileOptions};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::{Contents, Kind, Level, Stat, Tree, is_skippable, parallel, relative};
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
    let name = entry_name(path);
    let options = options(stat, Level::Default)?;
    if stat.kind == Kind::Directory {
        zip.add_directory(name, options).map_err(write_error)
    } else {
        let target = tree
            .read_link(path)
            .map_err(CacheError::file("read", path))?;
        zip.add_symlink(name, target.to_string_lossy(), options)
            .map_err(write_error)
    }
}

/// A path's name in the archive. Names are UTF-8 in zip; what is not is replaced.
pub(super) fn entry_name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Mode and both times (the old field holds two-second steps without a time zone; the extended
/// one, which all unpackers prefer, the second).
pub(super) fn options(
    stat: Stat,
    level: Level,
) -> Result<FullFileOptions<'static, 'static>, CacheError> {
    let mut options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(level.deflate()))
        .unix_permissions(stat.mode)
        .large_file(stat.size >= zip::ZIP64_BYTES_THR);
    if let Some(time) = dos_time(stat.modified) {
        options = options.last_modified_time(time);
    }
    match u32::try_from(stat.modified) {
        Ok(seconds) => options
            .with_extended_timestamp(Some(seconds), None, None)
            .map_err(write_error),
        Err(_) => Ok(options.into_full_options()),
    }
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

/// Unpacks an archive into `tree`.
///
/// # Errors
/// If the archive is broken, an entry would lie outside `tree`, or a file cannot be written.
pub fn extract(tree: &Tree, archive: File) -> Result<Contents, CacheError> {
    let mut zip = ZipArchive::new(BufReader::new(archive)).map_err(read_error)?;
    let mut contents = Contents::default();
    let mut folders = Vec::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(read_error)?;
        let name = entry.name().map_err(read_error)?.into_owned();
        let path = relative(&name)?;
        if path.as_os_str().is_empty() {
            continue;
        }
        let modified = modified(&entry);
        let put = CacheError::file("write", &path);
        if entry.is_dir() {
            tree.make_dir(&path).map_err(put)?;
            folders.push((path, entry.unix_mode().unwrap_or(0o777), modified));
        } else if entry.is_symlink() {
            let target = link_target(&mut entry)?;
            tree.symlink(&path, Path::new(&target), modified)
                .map_err(put)?;
        } else {
            let mode = entry.unix_mode().unwrap_or(0o644);
            tree.write(&path, mode, modified, &mut entry).map_err(put)?;
        }
        contents.entries += 1;
    }
    // Deepest first: a folder's time changes when something is written into it, and one that is
    // read-only could not be filled.
    for (path, mode, modified) in folders.into_iter().rev() {
        tree.finish_dir(&path, mode, modified)
            .map_err(CacheError::file("write", &path))?;
    }
    Ok(contents)
}

fn link_target<R: Read>(entry: &mut ZipFile<'_, R>) -> Result<String, CacheError> {
    let mut target = String::new();
    entry
        .take(LONGEST_TARGET + 1)
        .read_to_string(&mut target)
        .map_err(|e| CacheError::Archive(e.to_string()))?;
    if target.is_empty() || target.len() as u64 > LONGEST_TARGET || target.contains('\0') {
        return Err(CacheError::Archive(
            "a symlink without a usable target".into(),
        ));
    }
    Ok(target)
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
