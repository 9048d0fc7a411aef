//! Access to files beneath one folder that never leaves it.
//!
//! A job controls the folder's content, which may hold symlinks to anywhere. Every path is resolved
//! by the kernel with `openat2(RESOLVE_BENEATH)`; where that call is missing (old kernels, old
//! seccomp profiles) each component is opened in turn and no symlink is followed at all.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, mkdirat,
    openat, openat2, readlinkat, renameat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symlink, whatever it points to.
    Symlink,
    /// A FIFO, socket or device.
    Special,
}

/// Metadata of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The kind.
    pub kind: Kind,
    /// Permission bits (`0o777` at most).
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change, in seconds since 1970.
    pub modified: i64,
    /// Owner and group.
    pub owner: Owner,
}

/// A file's user and group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// The attributes of an archive entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits; others are not used.
    pub mode: u32,
    /// Time of the last change, in seconds since 1970.
    pub modified: Option<i64>,
    /// The owner; restored where this process is allowed to.
    pub owner: Option<Owner>,
}

impl From<Stat> for Attributes {
    fn from(stat: Stat) -> Self {
        Self {
            mode: stat.mode,
            modified: Some(stat.modified),
            owner: Some(stat.owner),
        }
    }
}

/// An open folder; all paths given to it are relative to it.
#[derive(Debug)]
pub struct Tree {
    fd: OwnedFd,
    path: PathBuf,
    name: PathBuf,
}

impl Tree {
    /// Opens a folder by a path that is trusted.
    ///
    /// # Errors
    /// If it does not exist or is no folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            fd,
            path: path.to_owned(),
            name: path.to_owned(),
        })
    }

    /// Opens a folder in this one and creates missing components. No component may be a symlink;
    /// one in the way is an error.
    ///
    /// # Errors
    /// If a component is no folder or cannot be made.
    pub fn descend(&self, relative: &Path) -> io::Result<Self> {
        let fd = self.walk(relative, true)?;
        Ok(Self {
            fd,
            path: self.path.join(relative),
            name: self.name.join(relative),
        })
    }

    /// Sets the folder's display name: the path by which a job knows it.
    #[must_use]
    pub fn known_as(self, name: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// The display name: absolute patterns begin with it.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Metadata of a path; a symlink at its end is not followed.
    ///
    /// # Errors
    /// If it does not exist, or leads outside.
    pub fn stat(&self, relative: &Path) -> io::Result<Stat> {
        let (parent, name) = self.parent(relative, false)?;
        let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Special,
        };
        Ok(Stat {
            kind,
            mode: stat.st_mode & 0o777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: stat.st_mtime,
            owner: Owner {
                user: stat.st_uid,
                group: stat.st_gid,
            },
        })
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// If it is not a regular file, or leads outside.
    pub fn read(&self, relative: &Path) -> io::Result<File> {
        let (parent, name) = self.parent(relative, false)?;
        // Not blocking: the file may have become a FIFO since it was looked at.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&parent, name, flags, Mode::empty())?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ))
        }
    }

    /// Where a symlink points to.
    ///
    /// # Errors
    /// If it is not a symlink.
    pub fn read_link(&self, relative: &Path) -> io::Result<PathBuf> {
        let (parent, name) = self.parent(relative, false)?;
        let target = readlinkat(&parent, name, Vec::new())?;
        Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
    }

    /// Creates a folder and its parents. An existing one keeps its mode.
    ///
    /// # Errors
    /// If a file is in the way.
    pub fn make_dir(&self, relative: &Path) -> io::Result<()> {
        if relative.as_os_str().is_empty() {
            return Ok(());
        }
        self.directory(relative, true).map(drop)
    }

    /// Writes a regular file, replacing what is there; creates its parent folders.
    ///
    /// # Errors
    /// If a folder is in its place, or the path leads outside.
    pub fn write(
        &self,
        relative: &Path,
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> io::Result<u64> {
        let (parent, name) = self.parent(relative, true)?;
        remove_leaf(&parent, name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Created with the owner's rights only and given its mode at the end, so that neither the
        // umask nor a set-id bit of the archive matters.
        let mut file = File::from(openat(&parent, name, flags, Mode::from_raw_mode(0o600))?);
        let size = io::copy(content, &mut file)?;
        file.flush()?;
        finish(&file, attributes)?;
        Ok(size)
    }

    /// Creates a symlink, replacing what is there; creates its parent folders. Its target does not
    /// matter: nothing here follows it outside.
    ///
    /// # Errors
    /// If a folder is in its place, or the path leads outside.
    pub fn symlink(
        &self,
        relative: &Path,
        target: &Path,
        attributes: &Attributes,
    ) -> io::Result<()> {
        let (parent, name) = self.parent(relative, true)?;
        remove_leaf(&parent, name)?;
        symlinkat(target, &parent, name)?;
        if let Some((user, group)) = ids(attributes.owner) {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            where_allowed(rustix::fs::chownat(&parent, name, user, group, flags))?;
        }
        if let Some(seconds) = attributes.modified {
            utimensat(&parent, name, &at(seconds), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// Sets a folder's owner, mode and time, after its content was written.
    ///
    /// # Errors
    /// If it is no folder, or leads outside.
    pub fn finish_dir(&self, relative: &Path, attributes: &Attributes) -> io::Result<()> {
        finish(self.readable(relative)?, attributes)
    }

    /// Moves a file or symlink to the same path in another folder of the same file system,
    /// replacing what is there; creates its parent folders.
    ///
    /// # Errors
    /// If a folder is in its place, or a path leads outside.
    pub fn move_to(&self, relative: &Path, other: &Self) -> io::Result<()> {
        let (from, name) = self.parent(relative, false)?;
        let (to, _) = other.parent(relative, true)?;
        Ok(renameat(&from, name, &to, name)?)
    }

    /// What the folder's file system says of itself.
    pub(super) fn file_system(&self) -> io::Result<rustix::fs::StatVfs> {
        Ok(rustix::fs::fstatvfs(&self.fd)?)
    }

    /// The names in a folder.
    ///
    /// # Errors
    /// If it is no folder, or leads outside.
    pub fn names(&self, relative: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.readable(relative)?)? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A folder, opened for reading.
    fn readable(&self, relative: &Path) -> io::Result<OwnedFd> {
        let fd = self.directory(relative, false)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(&fd, ".", flags, Mode::empty())?)
    }

    /// The open folder above a path, and the path's last part.
    pub(super) fn parent<'a>(
        &self,
        relative: &'a Path,
        create: bool,
    ) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = relative.file_name().ok_or_else(escapes)?;
        let parent = relative.parent().unwrap_or(Path::new(""));
        Ok((self.directory(parent, create)?, name))
    }

    /// A folder beneath this one. Symlinks on the way are followed as long as they stay beneath.
    fn directory(&self, relative: &Path, create: bool) -> io::Result<OwnedFd> {
        if relative.as_os_str().is_empty() {
            return self.fd.try_clone();
        }
        match beneath(&self.fd, relative) {
            Ok(fd) => Ok(fd),
            Err(Errno::NOENT) if create => {
                let parent = relative.parent().unwrap_or(Path::new(""));
                let name = relative.file_name().ok_or_else(escapes)?;
                let above = self.directory(parent, true)?;
                make(&above, name)?;
                // `beneath` reports a dangling symlink as missing; that stays an error.
                open_plain(&above, name)
            }
            Err(Errno::NOSYS | Errno::PERM) => self.walk(relative, create),
            Err(error) => Err(error.into()),
        }
    }

    /// Like [`directory`](Self::directory), one component after the other and without following any
    /// symlink.
    fn walk(&self, relative: &Path, create: bool) -> io::Result<OwnedFd> {
        let mut fd = self.fd.try_clone()?;
        for component in relative.components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::CurDir => continue,
                _ => return Err(escapes()),
            };
            if create {
                make(&fd, name)?;
            }
            fd = open_plain(&fd, name)?;
        }
        Ok(fd)
    }
}

fn beneath(fd: impl AsFd, relative: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(fd, relative, flags, Mode::empty(), resolve)
}

fn open_plain(fd: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(fd, name, flags, Mode::empty())?)
}

/// Creates a folder; an existing one is fine.
fn make(fd: impl AsFd, name: &OsStr) -> io::Result<()> {
    match mkdirat(fd, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a file or symlink, so that a new one can be made without writing through it.
fn remove_leaf(fd: impl AsFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(fd, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sets owner, mode and time of a written file. The owner first: changing it clears set-id bits.
fn finish(file: impl AsFd, attributes: &Attributes) -> io::Result<()> {
    if let Some((user, group)) = ids(attributes.owner) {
        where_allowed(rustix::fs::fchown(&file, user, group))?;
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode & 0o777))?;
    if let Some(seconds) = attributes.modified {
        rustix::fs::futimens(&file, &at(seconds))?;
    }
    Ok(())
}

fn ids(owner: Option<Owner>) -> Option<(Option<Uid>, Option<Gid>)> {
    // The highest number means "unchanged".
    let Owner { user, group } = owner.filter(|owner| owner.user.max(owner.group) != u32::MAX)?;
    Some((Some(Uid::from_raw(user)), Some(Gid::from_raw(group))))
}

/// Only root may change owners, and in a user namespace only to users mapped there.
fn where_allowed(given: rustix::io::Result<()>) -> io::Result<()> {
    match given {
        Err(Errno::PERM | Errno::INVAL | Errno::NOSYS) => Ok(()),
        given => Ok(given?),
    }
}

fn at(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn escapes() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the path leads outside its folder",
    )
}
