//! The header of a zip entry: the name and the file's attributes.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::Offset;
use rustix::fs::FileType;
use zip::write::{FullFileOptions, SimpleFileOptions};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{Kind, Level, Owner, Stat};
use crate::Error;

/// How the content of an archive's files is compressed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packing {
    method: CompressionMethod,
    level: Option<i64>,
}

impl Packing {
    /// Deflated. The fastest level only stores, as in GitLab Runner.
    pub(super) fn deflate(level: Level) -> Self {
        match level.deflate() {
            0 => Self::STORED,
            level => Self {
                method: CompressionMethod::Deflated,
                level: Some(level),
            },
        }
    }

    /// Compressed by zstd.
    pub(super) fn zstd(level: Level) -> Self {
        Self {
            method: CompressionMethod::Zstd,
            level: Some(level.zstd().into()),
        }
    }

    const STORED: Self = Self {
        method: CompressionMethod::Stored,
        level: None,
    };
}

/// Begins an entry. Its name is the path's raw bytes, UTF-8 or not, as in GitLab Runner.
pub(super) fn start(
    zip: &mut ZipWriter<BufWriter<File>>,
    path: &Path,
    stat: Stat,
    packing: Packing,
) -> Result<(), Error> {
    let mut name = path.as_os_str().as_bytes().to_vec();
    if stat.kind == Kind::Directory {
        name.push(b'/');
    }
    // A folder has no content to compress.
    let packing = if stat.kind == Kind::File {
        packing
    } else {
        Packing::STORED
    };
    let options = options(stat, packing)?;
    zip.start_file_with_options(options.name(&name))
        .map_err(write_error)
}

/// Owner, kind, mode and modification time. The time is stored twice: the old field has two-second
/// steps and no time zone; the extended one, which all unpackers prefer, is exact to the second.
pub(super) fn options(
    stat: Stat,
    packing: Packing,
) -> Result<FullFileOptions<'static, 'static>, Error> {
    let mut options = SimpleFileOptions::default()
        .compression_method(packing.method)
        .compression_level(packing.level)
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

/// The bits of a mode that hold the file's kind.
fn kind_bits(kind: Kind) -> u32 {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::File | Kind::Special => FileType::RegularFile,
    }
    .as_raw_mode()
}

/// Info-ZIP's field for user and group ("ux"): its version, then each number behind its length.
pub(super) const OWNER: u16 = 0x7875;

fn owner_field(owner: Owner) -> [u8; 11] {
    let mut field = [0; 11];
    field[0] = 1;
    field[1] = 4;
    field[2..6].copy_from_slice(&owner.user.to_le_bytes());
    field[6] = 4;
    field[7..].copy_from_slice(&owner.group.to_le_bytes());
    field
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

pub(super) fn write_error(error: zip::result::ZipError) -> Error {
    Error::Write(io::Error::from(error).to_string())
}
