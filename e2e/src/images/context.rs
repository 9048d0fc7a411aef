//! A folder as the context of an image build: its files, their hash, and a tar of them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The name of the host's CA bundle in every context (see [`ca_bundle`]).
const CA_BUNDLE: &str = "ca-certificates.crt";

/// The files of an image's folder, by relative path.
#[derive(Debug, Clone)]
pub struct Context {
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug, Clone)]
struct File {
    content: Vec<u8>,
    executable: bool,
}

impl Context {
    /// Reads all files of `folder`.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(next) = folders.pop() {
            let listed = std::fs::read_dir(&next)
                .map_err(Error::io(format!("list the folder {}", next.display())))?;
            for entry in listed {
                let path = entry
                    .map_err(Error::io(format!("list the folder {}", next.display())))?
                    .path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(folder).unwrap_or(&path).to_path_buf();
                files.insert(name, File::read(&path)?);
            }
        }
        Ok(Self { files })
    }

    /// A hash of names, modes and contents, without the host's CA bundle.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (name, file) in &self.files {
            let name = name.to_string_lossy();
            hash.update(format!(
                "{name}\0{}\0{}\0",
                file.executable,
                file.content.len()
            ));
            hash.update(&file.content);
        }
        hex::encode(hash.finalize())
    }

    /// The tar for the engine: the files and the host's CA bundle.
    pub fn tar(mut self) -> Result<Vec<u8>> {
        if let Some(content) = ca_bundle() {
            self.files.insert(
                CA_BUNDLE.into(),
                File {
                    content,
                    executable: false,
                },
            );
        }
        let mut tar = tar::Builder::new(Vec::new());
        for (name, file) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(file.content.len() as u64);
            header.set_mode(if file.executable { 0o755 } else { 0o644 });
            header.set_mtime(0);
            tar.append_data(&mut header, name, file.content.as_slice())
                .map_err(Error::io(format!("pack {}", name.display())))?;
        }
        tar.into_inner()
            .map_err(Error::io("pack the build context"))
    }
}

impl File {
    fn read(path: &Path) -> Result<Self> {
        let what = || format!("read {}", path.display());
        let content = std::fs::read(path).map_err(Error::io(what()))?;
        let mode = std::fs::metadata(path)
            .map_err(Error::io(what()))?
            .permissions()
            .mode();
        Ok(Self {
            content,
            executable: mode & 0o111 != 0,
        })
    }
}

/// The CA bundle of this machine: if TLS goes through a proxy with its own CA, downloads in a
/// container build need it as much as those of the host.
fn ca_bundle() -> Option<Vec<u8>> {
    std::env::var_os("SSL_CERT_FILE")
        .map(PathBuf::from)
        .into_iter()
        .chain(
            [
                "/etc/ssl/certs/ca-certificates.crt",
                "/etc/pki/tls/certs/ca-bundle.crt",
                "/etc/ssl/ca-bundle.pem",
                "/etc/ssl/cert.pem",
            ]
            .map(PathBuf::from),
        )
        .find_map(|path| std::fs::read(path).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn the_hash_follows_names_contents_and_modes() {
        let one = folder_with(&[("Dockerfile", "FROM a"), ("files/b", "b")]);
        let same = folder_with(&[("files/b", "b"), ("Dockerfile", "FROM a")]);
        let hash = |folder: &tempfile::TempDir| Context::read(folder.path()).unwrap().hash();
        assert_eq!(hash(&one), hash(&same));
        let before = hash(&one);
        std::fs::set_permissions(
            one.path().join("files/b"),
            std::fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        assert_ne!(before, hash(&one));
        std::fs::write(same.path().join("files/b"), "c").unwrap();
        assert_ne!(before, hash(&same));
    }

    #[test]
    fn the_tar_holds_every_file() {
        let folder = folder_with(&[("Dockerfile", "FROM a"), ("files/deep/b", "b")]);
        let tar = Context::read(folder.path()).unwrap().tar().unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(names.contains(&"Dockerfile".to_owned()));
        assert!(names.contains(&"files/deep/b".to_owned()));
    }
}
