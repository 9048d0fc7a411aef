//! `.onspot/world.json`: how the running world is reached from other processes.

use std::path::{Path, PathBuf};

use super::World;
use super::program::User;
use crate::engine::labels;
use crate::{Error, Result};

/// The folder of the world's files, in the folder where `up` was called.
pub const FOLDER: &str = ".onspot";

/// What other processes need to know.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct WorldState {
    /// The world's id.
    pub id: String,
    /// The process that serves it.
    pub pid: u32,
    /// The same process, told from later ones with its number.
    pub owner: String,
    /// The address of everything.
    pub gateway: String,
    /// The mock GitLab.
    pub gitlab_url: String,
    /// Its user's access token.
    pub gitlab_token: String,
    /// The AWS look-alike.
    pub aws_url: String,
    /// Credentials and environment of a person in the world.
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

    /// Where the state of the world of `folder` stands.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(FOLDER).join("world.json")
    }

    /// The world of `folder`, if its process lives.
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

    /// Writes it, whole or not at all; only its owner can read the credentials in it.
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
