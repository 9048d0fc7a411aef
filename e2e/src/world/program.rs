//! The `onspot` binary: where it is, and how the world's user runs it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::running::World;
use crate::{Error, Result, command};

/// The environment variable with the path of the `onspot` binary, if it is not next to this
/// program.
pub const PROGRAM: &str = "ONSPOT_BIN";

/// The environment variable with the guests' binary, if it is a different one (see `just dist`).
pub const GUEST_PROGRAM: &str = "ONSPOT_GUEST_BIN";

/// The environment variable to which `onspot.toml` refers for the runner's token.
pub const TOKEN: &str = "ONSPOT_RUNNER_TOKEN";

/// The `onspot` binary: from the environment variable, else next to this program (tests are one
/// folder deeper).
pub fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(PROGRAM) {
        return Ok(named.into());
    }
    let here = std::env::current_exe().map_err(Error::io("find this program"))?;
    let beside = here
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("onspot"));
    beside
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Error::Other(format!(
                "there is no onspot binary beside {}: `cargo build --workspace` makes it",
                here.display()
            ))
        })
}

/// The binary for the guests, without its symbols, because every guest downloads it.
pub async fn for_guests(dir: &Path) -> Result<PathBuf> {
    let named = std::env::var_os(GUEST_PROGRAM).filter(|named| !named.is_empty());
    let whole = named.map_or_else(find, |named| Ok(named.into()))?;
    let small = dir.join("onspot");
    let newer = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
    };
    if small.is_file() && newer(&small) > newer(&whole) {
        return Ok(small);
    }
    let arguments = [
        "-o",
        &small.display().to_string(),
        &whole.display().to_string(),
    ];
    match command::run("strip", &arguments).await {
        Ok(_) => Ok(small),
        // Without binutils, with its symbols.
        Err(_) => Ok(whole),
    }
}

impl World {
    /// `onspot <arguments>` as its user would run it: with the operator's AWS credentials and the
    /// runner's token in the environment, but without this machine's own AWS settings.
    pub fn onspot<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Command> {
        let mut command = Command::new(find()?);
        command.args(arguments).current_dir(self.dir());
        for (name, value) in environment(&self.user()) {
            command.env(name, value);
        }
        for name in FOREIGN {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// Runs `onspot <arguments>` to its end; returns its stdout.
    pub async fn run_onspot(&self, arguments: &[&str]) -> Result<String> {
        command::output(self.onspot(arguments)?).await
    }

    pub(super) fn user(&self) -> User {
        User {
            access_key: self.operator().access_key.clone(),
            secret_key: self.operator().secret_key.clone(),
            region: self.region().to_owned(),
            runner_token: self.runner_token().to_owned(),
            gateway: self.gateway().to_string(),
        }
    }
}

/// Settings of this machine that are removed from the environment.
pub const FOREIGN: [&str; 4] = [
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "ONSPOT_CONFIG",
];

/// The environment of the world's user.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct User {
    /// The operator's access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The region.
    pub region: String,
    /// The runner's token.
    pub runner_token: String,
    /// The address to reach without an HTTP proxy.
    pub gateway: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// The environment variables of the world's user.
pub fn environment(user: &User) -> [(&'static str, String); 6] {
    [
        ("AWS_ACCESS_KEY_ID", user.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY", user.secret_key.clone()),
        ("AWS_REGION", user.region.clone()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        (TOKEN, user.runner_token.clone()),
        ("NO_PROXY", user.gateway.clone()),
    ]
}
