//! `onspot run` on this host with a `config.toml` and a data folder, without AWS.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::world::program;
use crate::{Error, Result};

/// How long it may take to end after SIGTERM.
const END: Duration = Duration::from_secs(30);

/// AWS settings of this machine that are removed from its environment: it needs none.
const FOREIGN: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"];

/// A running `onspot run`. It is killed when this is dropped.
#[derive(Debug)]
pub struct LocalRun {
    child: Child,
    log: PathBuf,
}

impl LocalRun {
    /// Starts it with this `config.toml`. Its data and its log are beneath `folder`.
    pub fn start(folder: &Path, config: &str) -> Result<Self> {
        let path = folder.join("config.toml");
        std::fs::write(&path, config).map_err(Error::io("write config.toml"))?;
        let log = folder.join("onspot.log");
        let file = std::fs::File::create(&log).map_err(Error::io("make the log of onspot run"))?;
        let mut command = Command::new(program::find()?);
        command
            .args(["run", "--config"])
            .arg(&path)
            .arg("--data")
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .env("NO_PROXY", "*");
        for name in FOREIGN {
            command.env_remove(name);
        }
        let child = command.spawn().map_err(Error::io("start onspot run"))?;
        Ok(Self { child, log })
    }

    /// Ends it like systemd; returns its exit status.
    pub async fn end(&mut self) -> Result<ExitStatus> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)
                .map_err(|error| Error::io("end onspot run")(error.into()))?;
        }
        match tokio::time::timeout(END, self.child.wait()).await {
            Ok(status) => status.map_err(Error::io("wait for onspot run")),
            Err(_) => Err(Error::TimedOut {
                what: "onspot run ends".to_owned(),
                after: END,
                seen: "it still runs".to_owned(),
            }),
        }
    }

    /// Waits until it ends by itself, which it never should; returns its exit status.
    pub async fn died(&mut self) -> Result<ExitStatus> {
        self.child
            .wait()
            .await
            .map_err(Error::io("wait for onspot run"))
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
