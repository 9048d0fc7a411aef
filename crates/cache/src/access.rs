//! Where a job's cache is stored.

use std::path::{Path, PathBuf};

use crate::{Error, S3Cache, sanitize};

/// Where a job's cache is stored.
#[derive(Debug, Clone, Default)]
pub enum CacheAccess {
    /// Nowhere: nothing is restored or saved.
    #[default]
    None,
    /// In a folder of this host, shared by the jobs that run on it.
    Local(PathBuf),
    /// In S3.
    S3(S3Cache),
}

/// The file of a cache on this host: `<folder>/project/<id>/<key>/cache.zip`. As in GitLab Runner,
/// the name does not depend on the format.
///
/// # Errors
/// If nothing is left of the key once it is sanitised.
pub fn local_file(folder: &Path, project_id: u64, key: &str) -> Result<PathBuf, Error> {
    let project = folder.join("project").join(project_id.to_string());
    Ok(project.join(sanitize(key)?).join("cache.zip"))
}
