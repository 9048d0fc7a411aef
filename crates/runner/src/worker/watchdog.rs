//! The watchdog (rule 8): a separate process that acts at the lease's end in place of an agent that
//! is dead, stuck or stopped.

use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::notes::{LeaseFileError, Notes, Turn};
use crate::clock::Clock;
use crate::liveness::Liveness;

/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// An agent whose lease has ended and whose loop has not run for this long counts as hung and will
/// not continue frozen jobs. systemd waits equally long for a silent agent (`WatchdogSec`).
const HUNG: Duration = Duration::from_mins(1);

/// Runs until `shutdown`. Whenever the lease in `file` has ended, it freezes all jobs with
/// `freeze`, and kills them with `kill` if that fails or if the agent is dead or hangs.
///
/// A host whose agent never had a lease has no file, and nothing to kill. A lease that can't be
/// read counts as ended. It waits at most `limit` for the agent's turn and for `freeze`; `kill`
/// limits its own time.
pub async fn watchdog<F, K, E>(
    file: &Path,
    clock: &Clock,
    limit: Duration,
    freeze: impl FnMut() -> F,
    kill: impl FnMut() -> K,
    liveness: &Liveness,
    shutdown: CancellationToken,
) where
    F: Future<Output = Result<(), E>>,
    K: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let beat = liveness.watch("the watchdog's loop");
    let mut watch = Watch {
        notes: Notes::beside(file),
        clock,
        limit,
        freeze,
        kill,
        frozen: None,
        killed: None,
    };
    let mut ticks = tokio::time::interval(LOOK_AGAIN);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        beat.now();
        if watch.lease_that_has_ended().await.is_some() {
            watch.act().await;
        }
    }
}

struct Watch<'a, F, K> {
    notes: Notes,
    clock: &'a Clock,
    limit: Duration,
    freeze: F,
    kill: K,
    /// The lease ends at which it last froze and last killed all jobs.
    frozen: Option<Duration>,
    killed: Option<Duration>,
}

impl<F, K> Watch<'_, F, K> {
    async fn lease_that_has_ended(&self) -> Option<Duration> {
        let until = match self.notes.lease().await {
            Ok(until) => until?,
            Err(error) => {
                let error: LeaseFileError = error;
                tracing::error!(%error, "the lease counts as ended");
                Duration::ZERO
            }
        };
        (self.clock.steady() >= until).then_some(until)
    }

    /// Prevents the agent from thawing while the watchdog freezes, and the other way round. Only a
    /// thaw needs this lock: freezing and killing are safe without it, so the watchdog does not
    /// wait for an agent that stopped during its turn.
    async fn turn(&self) -> Option<Turn> {
        match tokio::time::timeout(self.limit, self.notes.turn()).await {
            Ok(Ok(turn)) => Some(turn),
            Ok(Err(error)) => {
                tracing::error!(%error, "the agent can't be kept from thawing");
                None
            }
            Err(_elapsed) => {
                tracing::error!("the agent does not end its turn: nothing waits for it");
                None
            }
        }
    }

    async fn agent_is_lost(&self) -> bool {
        let alive = self.notes.alive().await;
        alive.is_none_or(|alive| self.clock.steady().saturating_sub(alive) >= HUNG)
    }

    async fn act<A, B, E>(&mut self)
    where
        F: FnMut() -> A,
        K: FnMut() -> B,
        A: Future<Output = Result<(), E>>,
        B: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let _turn = self.turn().await;
        // The lease may have been renewed during the agent's turn.
        let Some(until) = self.lease_that_has_ended().await else {
            return;
        };
        if !self.agent_is_lost().await {
            // It freezes every time, because an agent that hung for a moment may have started
            // something since.
            match tokio::time::timeout(self.limit, (self.freeze)()).await {
                Ok(Ok(())) => {
                    if self.frozen.replace(until) != Some(until) {
                        tracing::warn!("the lease has ended: all jobs stand still");
                    }
                    return;
                }
                Ok(Err(error)) => tracing::error!(%error, "not all jobs stand still"),
                Err(_elapsed) => tracing::error!("the jobs do not stand still in time"),
            }
        } else if self.killed == Some(until) {
            return;
        }
        tracing::error!("the lease has ended: killing all jobs");
        // This comes first, because a killed script looks like one that failed.
        if let Err(error) = self.notes.note_killed(self.clock.steady()).await {
            tracing::error!(%error, "the agent can't be told");
        }
        match (self.kill)().await {
            Ok(()) => self.killed = Some(until),
            Err(error) => tracing::error!(%error, "the jobs could not be killed yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use jiff::Timestamp;

    use super::super::notes::LeaseFile;
    use super::*;

    /// A watchdog, and what it has done.
    #[derive(Default)]
    struct Scene {
        freezes: AtomicU32,
        kills: AtomicU32,
        /// Nothing can be frozen.
        wild: AtomicBool,
        /// The engine does not answer when it is to freeze.
        mute: AtomicBool,
    }

    /// How long the watchdog waits for others.
    const PATIENCE: Duration = Duration::from_secs(15);

    impl Scene {
        async fn watch(&self, file: &Path, clock: &Clock, stop: CancellationToken) {
            let freeze = || async {
                self.freezes.fetch_add(1, Ordering::Relaxed);
                if self.mute.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                if self.wild.load(Ordering::Relaxed) {
                    Err("it runs on")
                } else {
                    Ok(())
                }
            };
            let kill = || async {
                self.kills.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            watchdog(file, clock, PATIENCE, freeze, kill, &Liveness::new(), stop).await;
        }

        async fn after(&self, seconds: u64) -> (bool, u32) {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let frozen = self.freezes.swap(0, Ordering::Relaxed) > 0;
            (frozen, self.kills.load(Ordering::Relaxed))
        }
    }

    async fn tell<F: Future>(story: impl FnOnce(Notes, LeaseFile, Clock) -> F, scene: &Scene) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/lease");
        let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
        let stop = CancellationToken::new();
        let story = story(
            Notes::beside(&path),
            LeaseFile::new(path.clone()),
            clock.clone(),
        );
        let story = async {
            story.await;
            stop.cancel();
        };
        tokio::join!(scene.watch(&path, &clock, stop.clone()), story);
    }

    #[tokio::test(start_paused = true)]
    async fn it_kills_once_what_a_dead_agent_has_left_when_the_noted_lease_has_ended() {
        let scene = Scene::default();
        let story = async |_, mut file: LeaseFile, _| {
            assert_eq!(
                scene.after(10).await,
                (false, 0),
                "no agent had a lease yet"
            );
            file.write(Duration::from_mins(1)).await;
            assert_eq!(scene.after(45).await, (false, 0));
            assert_eq!(scene.after(10).await, (false, 1));
            assert_eq!(scene.after(60).await, (false, 1), "once is enough");
            file.write(Duration::from_secs(150)).await;
            assert_eq!(scene.after(60).await, (false, 2));
        };
        tell(story, &scene).await;
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_agent_lives_it_freezes_and_when_that_hangs_it_kills_within_a_minute() {
        let scene = Scene::default();
        let story = async |notes: Notes, mut file: LeaseFile, clock: Clock| {
            file.write(Duration::from_secs(10)).await;
            for _ in 0..10 {
                notes.note_alive(clock.steady()).await.unwrap();
                scene.after(5).await;
            }
            assert_eq!(scene.after(2).await, (true, 0));
            assert_eq!(scene.after(50).await, (true, 0), "it is quiet for 57 s");
            assert_eq!(notes.killed().await, None);
            assert_eq!(scene.after(5).await.1, 1);
            assert!(
                notes.killed().await.is_some(),
                "an agent that wakes up hears of it"
            );
        };
        tell(story, &scene).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_stand_still_is_killed() {
        let scene = Scene::default();
        scene.wild.store(true, Ordering::Relaxed);
        let story = async |notes: Notes, mut file: LeaseFile, clock: Clock| {
            file.write(Duration::from_secs(10)).await;
            notes.note_alive(clock.steady()).await.unwrap();
            assert_eq!(scene.after(9).await, (false, 0));
            assert!(scene.after(3).await.1 > 0);
        };
        tell(story, &scene).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_its_turn_and_looks_again_then() {
        let scene = Scene::default();
        let story = async |notes: Notes, mut file: LeaseFile, clock: Clock| {
            file.write(Duration::from_secs(10)).await;
            notes.note_alive(clock.steady()).await.unwrap();
            scene.after(9).await;
            let turn = notes.turn().await.unwrap();
            assert_eq!(scene.after(5).await, (false, 0));
            file.write(Duration::from_mins(10)).await;
            drop(turn);
            assert_eq!(
                scene.after(60).await,
                (false, 0),
                "it was renewed meanwhile"
            );
        };
        tell(story, &scene).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_freeze_that_does_not_end_is_followed_by_a_kill() {
        let scene = Scene::default();
        scene.mute.store(true, Ordering::Relaxed);
        let story = async |notes: Notes, mut file: LeaseFile, clock: Clock| {
            file.write(Duration::from_secs(10)).await;
            notes.note_alive(clock.steady()).await.unwrap();
            assert_eq!(scene.after(20).await, (true, 0));
            assert!(scene.after(8).await.1 > 0);
            assert!(notes.killed().await.is_some());
        };
        tell(story, &scene).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_stops_in_its_turn_is_not_waited_for() {
        let scene = Scene::default();
        let story = async |notes: Notes, mut file: LeaseFile, clock: Clock| {
            file.write(Duration::from_secs(10)).await;
            notes.note_alive(clock.steady()).await.unwrap();
            let _turn = notes.turn().await.unwrap();
            assert_eq!(scene.after(20).await, (false, 0));
            assert_eq!(scene.after(8).await, (true, 0));
            assert_eq!(scene.after(60).await.1, 1, "it is lost");
        };
        tell(story, &scene).await;
    }
}
