//! The files that `up` uploads for the instances: the binary and the helper image.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::spec::Spec;

mod binary;
pub(crate) mod upload;

pub use binary::{Binary, BinaryError, GlibcVersion};

/// The first bytes of a gzip file (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What instances need to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// The binary.
    pub binary: Binary,
    /// The helper image; workers build it themselves if absent.
    pub helper: Option<HelperImage>,
}

/// A container image as `docker save` writes it, compressed.
#[derive(Debug, Clone)]
pub struct HelperImage {
    sha256: String,
    content: Vec<u8>,
}

impl Program {
    /// Reads both files and checks that the binary runs on every instance of `spec`.
    ///
    /// # Errors
    ///
    /// [`Error::Binary`] if the binary can't be read or does not run on an instance;
    /// [`Error::HelperImage`] if the helper image can't be read.
    pub fn load(spec: &Spec, binary: &Path, helper: Option<&Path>) -> Result<Self, Error> {
        let binary = Binary::load(binary)?;
        let workers = spec.runners.iter().map(|runner| runner.workers.os);
        binary.check_runs_on(workers.chain([spec.manager.os]))?;
        let helper = helper.map(HelperImage::load).transpose()?;
        Ok(Self { binary, helper })
    }

    /// The files that instances fetch: their keys in the bucket and their content.
    pub(crate) fn files(&self) -> impl Iterator<Item = (String, &[u8])> {
        let helper = self.helper.iter();
        let helper = helper.map(|helper| (helper.key(), helper.content()));
        std::iter::once((self.binary.key(), self.binary.content())).chain(helper)
    }
}

impl HelperImage {
    /// Reads the output of `docker save`, compressed with gzip or not.
    ///
    /// # Errors
    ///
    /// [`Error::HelperImage`] if the file can't be read or compressed.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::HelperImage {
            path: path.to_owned(),
            source,
        };
        let mut content = std::fs::read(path).map_err(failed)?;
        if !content.starts_with(&GZIP) {
            // The same image always gives the same bytes: the header has no name and no time.
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&content).map_err(failed)?;
            content = gzip.finish().map_err(failed)?;
        }
        Ok(Self {
            sha256: hex::encode(Sha256::digest(&content)),
            content,
        })
    }

    /// The hexadecimal SHA-256 of its compressed content.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Its key in the bucket.
    pub fn key(&self) -> String {
        format!("bin/onspot-helper-{}.tar.gz", self.sha256)
    }

    /// Its compressed bytes.
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_compressed_once_and_always_alike() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, gzipped) = (dir.path().join("a.tar"), dir.path().join("b.tar.gz"));
        std::fs::write(&plain, b"layers").unwrap();
        let first = HelperImage::load(&plain).unwrap();
        assert_eq!(first.sha256(), HelperImage::load(&plain).unwrap().sha256());
        std::fs::write(&gzipped, first.content()).unwrap();
        assert_eq!(HelperImage::load(&gzipped).unwrap().key(), first.key());
    }
}
