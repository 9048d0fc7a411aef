//! The program that instances run: the binary that `up` was given, if it can run there.

use std::fmt;
use std::path::{Path, PathBuf};

use object::read::elf::{ElfFile64, FileHeader, SectionHeader as _};
use object::{Architecture, Endianness, Object as _, elf};
use sha2::{Digest as _, Sha256};

use crate::spec::Os;

/// A version of the GNU C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GlibcVersion {
    major: u32,
    minor: u32,
}

impl GlibcVersion {
    /// The version `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads a symbol version such as `GLIBC_2.34` or `GLIBC_2.2.5`; `None` for any other.
    fn of_symbol(name: &str) -> Option<Self> {
        // Not a version but a feature: relative relocations, which the loader supports since 2.36.
        if name == "GLIBC_ABI_DT_RELR" {
            return Some(Self::new(2, 36));
        }
        let mut numbers = name.strip_prefix("GLIBC_")?.split('.').map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self { major, minor })
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why a program can't be sent to instances.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinaryError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no program for Linux on x86_64.
    #[error("{} is not a program for Linux on x86_64", path.display())]
    NotForInstances {
        /// The file.
        path: PathBuf,
    },
    /// The instances' C library is too old for it.
    #[error("{} needs glibc {needed}, but {os} has {has}", path.display())]
    GlibcTooNew {
        /// The file.
        path: PathBuf,
        /// What it needs.
        needed: GlibcVersion,
        /// The operating system of some of the instances.
        os: Os,
        /// What that has.
        has: GlibcVersion,
    },
}

impl BinaryError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::NotForInstances { .. } => {
                Some("name one with --binary, for example the one that `just dist` builds".into())
            }
            Self::GlibcTooNew { .. } => Some(
                "build one that runs on all instances with `just dist`, and name it with --binary"
                    .into(),
            ),
        }
    }
}

/// A program that can be sent to instances.
#[derive(Debug, Clone)]
pub struct Binary {
    path: PathBuf,
    sha256: String,
    needs: Option<GlibcVersion>,
    content: Vec<u8>,
}

impl Binary {
    /// Reads a program.
    ///
    /// # Errors
    /// [`BinaryError`] if it is none for Linux on x86_64.
    pub fn load(path: &Path) -> Result<Self, BinaryError> {
        let content = std::fs::read(path).map_err(|source| BinaryError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::of(path, content)
    }

    fn of(path: &Path, content: Vec<u8>) -> Result<Self, BinaryError> {
        let needs = needed_glibc(&content).ok_or_else(|| BinaryError::NotForInstances {
            path: path.to_owned(),
        })?;
        let sha256 = hex::encode(Sha256::digest(&content));
        Ok(Self {
            path: path.to_owned(),
            sha256,
            needs,
            content,
        })
    }

    /// Checks that it runs on all of these systems.
    ///
    /// # Errors
    /// [`BinaryError::GlibcTooNew`] names the first one it does not run on.
    pub fn check_runs_on(&self, systems: impl IntoIterator<Item = Os>) -> Result<(), BinaryError> {
        let Some(needed) = self.needs else {
            return Ok(());
        };
        match systems.into_iter().find(|os| os.glibc() < needed) {
            None => Ok(()),
            Some(os) => Err(BinaryError::GlibcTooNew {
                path: self.path.clone(),
                needed,
                os,
                has: os.glibc(),
            }),
        }
    }

    /// The hexadecimal SHA-256 of its content.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The newest version of glibc that it asks for; `None` if it is linked statically.
    pub fn needs(&self) -> Option<GlibcVersion> {
        self.needs
    }

    /// Its key in the bucket.
    pub fn key(&self) -> String {
        format!("bin/onspot-{}", self.sha256)
    }

    /// Its bytes.
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

/// The newest glibc that a program needs (the inner `None` means none); the outer `None` means that
/// it is no program for Linux on x86_64.
#[expect(
    clippy::option_option,
    reason = "no program, and a program without glibc, differ"
)]
fn needed_glibc(content: &[u8]) -> Option<Option<GlibcVersion>> {
    let file = ElfFile64::<Endianness>::parse(content).ok()?;
    let header = file.elf_header();
    let endian = file.endian();
    let runs = matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN);
    if file.architecture() != Architecture::X86_64 || !runs {
        return None;
    }
    let sections = file.elf_section_table();
    let mut newest = None;
    for section in sections.iter() {
        let Ok(Some((mut needs, strings))) = section.gnu_verneed(endian, content) else {
            continue;
        };
        let Ok(strings) = sections.strings(endian, content, strings) else {
            continue;
        };
        while let Ok(Some((_, mut versions))) = needs.next() {
            while let Ok(Some(version)) = versions.next() {
                // Only weak symbols need it, so the loader starts the program without it.
                if version.vna_flags.get(endian) & elf::VER_FLG_WEAK != 0 {
                    continue;
                }
                let name = version.name(endian, strings).ok().and_then(|name| {
                    std::str::from_utf8(name)
                        .ok()
                        .and_then(GlibcVersion::of_symbol)
                });
                newest = newest.max(name);
            }
        }
    }
    Some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_asks_for_a_version() {
        let binary = Binary::load(&std::env::current_exe().unwrap()).unwrap();
        let needs = binary.needs().unwrap();
        assert!(needs >= GlibcVersion::new(2, 17), "{needs}");
        assert_eq!(binary.key(), format!("bin/onspot-{}", binary.sha256()));
    }

    #[test]
    fn a_program_that_is_too_new_is_refused_by_name() {
        let binary = Binary {
            path: "target/debug/onspot".into(),
            sha256: String::new(),
            needs: Some(GlibcVersion::new(2, 35)),
            content: Vec::new(),
        };
        binary
            .check_runs_on([Os::Debian12, Os::Ubuntu2204])
            .unwrap();
        let error = binary
            .check_runs_on([Os::Debian12, Os::AmazonLinux2023])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "target/debug/onspot needs glibc 2.35, but Amazon Linux 2023 has 2.34"
        );
        assert!(error.hint().unwrap().contains("just dist"));
    }

    #[test]
    fn other_files_are_refused() {
        for content in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF"] {
            let error = Binary::of(Path::new("x"), content.to_vec()).unwrap_err();
            assert!(matches!(error, BinaryError::NotForInstances { .. }));
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(GlibcVersion::of_symbol("GLIBC_2.4") < GlibcVersion::of_symbol("GLIBC_2.34"));
        assert_eq!(
            GlibcVersion::of_symbol("GLIBC_2.2.5"),
            Some(GlibcVersion::new(2, 2))
        );
        assert_eq!(
            GlibcVersion::of_symbol("GLIBC_ABI_DT_RELR"),
            Some(GlibcVersion::new(2, 36))
        );
        assert_eq!(GlibcVersion::of_symbol("GLIBC_PRIVATE"), None);
        assert_eq!(GlibcVersion::of_symbol("GCC_3.0"), None);
    }
}
