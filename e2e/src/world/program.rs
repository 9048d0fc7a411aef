//! The `onspot` binary: where it is, and how a person in this world runs it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::running::World;
use crate::{Error, Result, command};

/// Names the `onspot` binary, where it is not beside this program.
pub const PROGRAM: &str = "ONSPOT_BIN";

/// Names the binary for the guests, where it is another one (see `just dist`).
pub const GUEST_PROGRAM: &str = "ONSPOT_GUEST_BIN";

/// The variable of `onspot.toml` that holds the runner's token.
pub const TOKEN: &str = "ONSPOT_RUNNER_TOKEN";

/// The `onspot` binary: named by the environment, else beside this program (tests are one
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

/// What is sent to the guests: the binary without its symbols, as every guest downloads it.
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
        // No binutils here: then the whole.
        Err(_) => Ok(whole),
    }
}

impl World {
    /// `onspot <arguments>` as its user would run it: with the operator's AWS credentials and
    /// the runner's token in the environment, and nothing else of this machine's AWS settings.
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

    /// Runs `onspot <arguments>` to its end; what it printed on stdout.
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

/// Settings of this machine that must not reach into the world.
pub const FOREIGN: [&str; 4] = [
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "ONSPOT_CONFIG",
];

/// What a person in the world has in their environment.
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
    /// The address that no HTTP proxy is needed for.
    pub gateway: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// The environment variables of a person in the world.
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
