//! Where a job's cache lies.

use std::path::{Path, PathBuf};

use crate::{CacheError, S3Cache, sanitize};

/// Where a job's cache lies.
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

/// The file of a cache on this host: `<folder>/project/<id>/<key>/cache.zip`. It is called that
/// whatever its format, as in GitLab Runner.
///
/// # Errors
/// If nothing is left of the key once it is sanitised.
pub fn local_file(folder: &Path, project_id: u64, key: &str) -> Result<PathBuf, CacheError> {
    let project = folder.join("project").join(project_id.to_string());
    Ok(project.join(sanitize(key)?).join("cache.zip"))
}
