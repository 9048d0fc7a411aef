//! `.onspot/world.json`: the running world's addresses for other processes.

use std::path::{Path, PathBuf};

use super::World;
use super::program::User;
use crate::engine::labels;
use crate::{Error, Result};

/// The folder for the world's files, in the folder where `up` was called.
pub const FOLDER: &str = ".onspot";

/// The world's description for other processes.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct WorldState {
    /// The world's id.
    pub id: String,
    /// The process that serves it.
    pub pid: u32,
    /// The same process, identified uniquely.
    pub owner: String,
    /// The address of all parts.
    pub gateway: String,
    /// The mock GitLab.
    pub gitlab_url: String,
    /// Its user's access token.
    pub gitlab_token: String,
    /// The AWS look-alike.
    pub aws_url: String,
    /// Credentials and environment of the world's user.
    pub user: User,
    /// The stack's description.
    pub onspot_toml: PathBuf,
}

impl WorldState {
    /// The state of a world that this process serves.
    pub fn of(world: &World, onspot_toml: PathBuf) -> Self {
        Self {
            id: world.id().to_owned(),
            pid: std::process::id(),
            owner: labels::owner(),
            gateway: world.gateway().to_string(),
            gitlab_url: world.gitlab().url().to_string(),
            gitlab_token: world.gitlab().token(),
            aws_url: world.cloud().url(),
            user: world.user(),
            onspot_toml,
        }
    }

    /// The path of the description of `folder`'s world.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(FOLDER).join("world.json")
    }

    /// The world of `folder`, if its process is alive.
    pub fn running(folder: &Path) -> Result<Self> {
        let path = Self::path(folder);
        let Ok(text) = std::fs::read(&path) else {
            return Err(Error::NoWorld(path));
        };
        let state: Self = serde_json::from_slice(&text).map_err(|source| Error::Json {
            path: path.clone(),
            source,
        })?;
        if labels::is_alive(&state.owner) {
            Ok(state)
        } else {
            Err(Error::NoWorld(path))
        }
    }

    /// Writes it atomically; only its owner can read the credentials in it.
    pub fn write(&self, folder: &Path) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = Self::path(folder);
        let text = serde_json::to_vec_pretty(self).map_err(|source| Error::Json {
            path: path.clone(),
            source,
        })?;
        let new = path.with_extension("json.new");
        let what = || format!("write {}", path.display());
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(Error::io(what()))?;
        std::io::Write::write_all(&mut file, &text).map_err(Error::io(what()))?;
        std::fs::rename(&new, &path).map_err(Error::io(what()))
    }
}
