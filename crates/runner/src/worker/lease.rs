//! The lease (rule 8): a worker that could not renew it in time kills its jobs, and a watchdog
//! that outlives the agent does so if the agent can't.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::liveness::Liveness;

/// How often the watchdog looks, and the longest the agent sleeps: timers stand still while the
/// host is suspended, the clock does not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long the lease runs, and how often it has ended before it was renewed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Term {
    /// Its end, on the steady clock; zero before it was ever stored.
    until: Duration,
    /// How often it had ended already when it was renewed.
    lapses: u64,
}

impl Term {
    /// The lease when a renewal was answered at `now`.
    pub(crate) fn renewed(self, until: Duration, now: Duration) -> Self {
        let lapsed = !self.until.is_zero() && !self.holds(now);
        Self {
            until,
            lapses: self.lapses + u64::from(lapsed),
        }
    }

    /// Whether it holds.
    pub(crate) fn holds(self, now: Duration) -> bool {
        now < self.until
    }

    /// How often it has ended until now: at each of these times the watchdog may have killed.
    pub(crate) fn lapses(self, now: Duration) -> u64 {
        self.lapses + u64::from(!self.holds(now))
    }
}

/// Waits for the lease's end.
#[derive(Debug)]
pub(crate) struct Lease {
    term: watch::Receiver<Term>,
    clock: Clock,
    /// The lapses that were told already.
    told: u64,
}

impl Lease {
    pub(crate) fn new(term: watch::Receiver<Term>, clock: Clock) -> Self {
        let told = term.borrow().lapses;
        Self { term, clock, told }
    }

    /// Ends when the lease does; once for each time that it is lost, even if it was renewed
    /// before anybody looked.
    pub(crate) async fn ended(&mut self) {
        loop {
            let term = *self.term.borrow_and_update();
            let now = self.clock.steady();
            let lapses = term.lapses(now);
            if lapses > self.told {
                self.told = lapses;
                tracing::error!("the lease has ended: it could not be renewed in time");
                return;
            }
            let pause = if term.holds(now) {
                term.until.saturating_sub(now).min(LOOK_AGAIN)
            } else {
                Duration::MAX
            };
            tokio::select! {
                changed = self.term.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Where the agent notes for the watchdog until when its lease runs.
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

    /// Notes the lease's end, in milliseconds of `CLOCK_BOOTTIME`. An error is only logged: the
    /// watchdog then kills too early, never too late.
    pub(crate) async fn write(&mut self, until: Duration) {
        let result = replace(&self.path, &until.as_millis().to_string()).await;
        if let Err(error) = &result
            && !self.failing
        {
            tracing::error!(path = %self.path.display(), %error, "the lease can't be noted");
        }
        self.failing = result.is_err();
    }
}

/// Writes a file whole or not at all.
async fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(&new, text).await?;
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

/// Kills all job containers by `kill` whenever the lease in `file` has ended, until `shutdown`.
///
/// It runs as a process of its own, so that it does its duty when the agent is dead, stuck or
/// stopped. A host whose agent never had a lease has no file, and nothing to kill. A lease that
/// can't be read counts as ended.
pub async fn watchdog<F, E>(
    file: &Path,
    clock: &Clock,
    mut kill: impl FnMut() -> F,
    liveness: &Liveness,
    shutdown: CancellationToken,
) where
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let beat = liveness.watch("the watchdog's loop");
    let mut killed = None;
    let mut ticks = tokio::time::interval(LOOK_AGAIN);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        beat.now();
        let until = match lease_in(file).await {
            Ok(None) => continue,
            Ok(Some(until)) => until,
            Err(error) => {
                tracing::error!(%error, "the lease counts as ended");
                Duration::ZERO
            }
        };
        if clock.steady() < until || killed == Some(until) {
            continue;
        }
        tracing::error!("the lease has ended: killing all jobs");
        match kill().await {
            Ok(()) => killed = Some(until),
            Err(error) => tracing::error!(%error, "the jobs could not be killed yet"),
        }
    }
}

async fn lease_in(file: &Path) -> Result<Option<Duration>, LeaseFileError> {
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use jiff::Timestamp;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_is_told_once_and_again_after_a_renewal() {
        let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
        let first = Term::default().renewed(Duration::from_mins(2), Duration::ZERO);
        let (renew, terms) = watch::channel(first);
        let mut lease = Lease::new(terms, clock.clone());
        lease.ended().await;
        assert_eq!(clock.steady(), Duration::from_mins(2));
        let again = tokio::time::timeout(Duration::from_mins(1), lease.ended()).await;
        assert!(again.is_err());
        renew.send_modify(|term| *term = term.renewed(Duration::from_mins(5), clock.steady()));
        lease.ended().await;
        assert_eq!(clock.steady(), Duration::from_mins(5));
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_told_even_if_the_lease_was_renewed_before_anybody_looked() {
        let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
        let first = Term::default().renewed(Duration::from_mins(2), Duration::ZERO);
        let (renew, terms) = watch::channel(first);
        let mut lease = Lease::new(terms, clock.clone());
        tokio::time::advance(Duration::from_secs(130)).await;
        renew.send_modify(|term| *term = term.renewed(Duration::from_secs(250), clock.steady()));
        lease.ended().await;
        assert_eq!(clock.steady(), Duration::from_secs(130));
        assert_eq!(renew.borrow().lapses(clock.steady()), 1);
        let again = tokio::time::timeout(Duration::from_mins(1), lease.ended()).await;
        assert!(again.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_kills_once_when_the_noted_lease_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/lease");
        let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
        let (kills, shutdown) = (AtomicU32::new(0), CancellationToken::new());
        let liveness = Liveness::new();
        let kill = || async {
            kills.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(())
        };
        let killed_at = |seconds| {
            let kills = &kills;
            async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                kills.load(Ordering::Relaxed)
            }
        };
        let watched = watchdog(&path, &clock, kill, &liveness, shutdown.clone());
        let story = async {
            assert_eq!(killed_at(10).await, 0, "no agent had a lease yet");
            let mut file = LeaseFile::new(path.clone());
            file.write(Duration::from_mins(1)).await;
            assert_eq!(killed_at(45).await, 0);
            assert_eq!(killed_at(10).await, 1);
            assert_eq!(killed_at(60).await, 1, "once is enough");
            file.write(Duration::from_secs(150)).await;
            assert_eq!(killed_at(60).await, 2);
            shutdown.cancel();
        };
        tokio::join!(watched, story);
    }
}
