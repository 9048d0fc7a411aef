//! The notes that an agent and its watchdog exchange, in files next to the lease file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// The pause between two looks whether the other one is done.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The files. All times are milliseconds of `CLOCK_BOOTTIME`.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    lease: PathBuf,
}

/// While it exists, the other process neither freezes nor kills nor thaws.
#[derive(Debug)]
pub(crate) struct Turn {
    _locked: std::fs::File,
}

impl Notes {
    /// The files next to the lease file `lease`.
    pub(crate) fn beside(lease: &Path) -> Self {
        Self {
            lease: lease.to_owned(),
        }
    }

    /// The end of the agent's lease; `None` if no agent ever had one.
    pub(crate) async fn lease(&self) -> Result<Option<Duration>, LeaseFileError> {
        time_in(&self.lease).await
    }

    /// Records that the agent's loop runs.
    pub(crate) async fn note_alive(&self, now: Duration) -> std::io::Result<()> {
        note(&self.file("alive"), now).await
    }

    /// When the agent's loop last ran; `None` if that is not known.
    pub(crate) async fn alive(&self) -> Option<Duration> {
        time_in(&self.file("alive")).await.ok().flatten()
    }

    /// Records that the watchdog is about to kill all jobs.
    pub(crate) async fn note_killed(&self, now: Duration) -> std::io::Result<()> {
        note(&self.file("killed"), now).await
    }

    /// When the watchdog last killed all jobs.
    pub(crate) async fn killed(&self) -> Option<Duration> {
        time_in(&self.file("killed")).await.ok().flatten()
    }

    /// Waits until the other process is done. Limit the wait, because the other process may be
    /// stopped.
    pub(crate) async fn turn(&self) -> std::io::Result<Turn> {
        let path = self.file("lock");
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        let open = std::fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        loop {
            match flock(&open, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Turn { _locked: open }),
                Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.lease.with_extension(kind)
    }
}

/// The file in which the agent records the end of its lease for the watchdog.
#[derive(Debug)]
pub(crate) struct LeaseFile {
    path: PathBuf,
    failing: bool,
}

impl LeaseFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            failing: false,
        }
    }

    /// Records the lease's end. An error is only logged, because the watchdog then acts too early,
    /// never too late.
    pub(crate) async fn write(&mut self, until: Duration) {
        let result = note(&self.path, until).await;
        if let Err(error) = &result
            && !self.failing
        {
            tracing::error!(path = %self.path.display(), %error, "the lease can't be noted");
        }
        self.failing = result.is_err();
    }
}

/// Writes a file atomically.
async fn note(path: &Path, time: Duration) -> std::io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(&new, time.as_millis().to_string()).await?;
    tokio::fs::rename(&new, path).await
}

/// Why a lease file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LeaseFileError {
    /// It could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("{path} does not hold a time in milliseconds")]
    Content {
        /// The file.
        path: PathBuf,
    },
}

async fn time_in(file: &Path) -> Result<Option<Duration>, LeaseFileError> {
    let path = || file.to_owned();
    match tokio::fs::read_to_string(file).await {
        Ok(text) => match text.trim().parse() {
            Ok(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
            Err(_) => Err(LeaseFileError::Content { path: path() }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LeaseFileError::Read {
            path: path(),
            source,
        }),
    }
}
