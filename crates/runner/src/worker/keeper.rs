//! The only writer of the worker's state: stores changes, renews the lease, recognises its own
//! writes.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

use onspot_ledger::{Error, Key, Ledger, Object, State, Stored, WorkerId, create, read, replace};
use onspot_settings::Timing;
use tokio::sync::{mpsc, oneshot, watch};

use super::WorkerContext;
use super::lease::{Lease, Term};
use super::notes::LeaseFile;
use crate::clock::Clock;
use crate::liveness::Beat;

/// The pause between two tries to write.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A change of the state, with those who wait until it is stored.
struct Change {
    stored: Option<oneshot::Sender<()>>,
    /// Whether it has to be written at once.
    urgent: bool,
}

/// Hands changes to the task that writes the state. When it and its clones are gone, the task
/// ends.
#[derive(Clone)]
pub(crate) struct Keeper {
    changes: mpsc::UnboundedSender<Change>,
    wanted: Arc<Mutex<State>>,
    lease: watch::Receiver<Term>,
    superseded: Arc<watch::Sender<bool>>,
    clock: Clock,
}

impl Keeper {
    /// Begins to keep `state`; `stored` is the version in the ledger.
    pub(crate) fn start(
        context: &WorkerContext,
        state: State,
        stored: Option<Stored<State>>,
    ) -> Self {
        let (changes, requests) = mpsc::unbounded_channel();
        let (renewed, lease) = watch::channel(Term::default());
        let superseded = Arc::new(watch::Sender::new(false));
        let wanted = Arc::new(Mutex::new(state));
        let writer = Writer {
            ledger: Arc::clone(&context.ledger),
            clock: context.clock.clone(),
            timing: context.timing.clone(),
            worker: context.id.clone(),
            wanted: Arc::clone(&wanted),
            stored,
            requests,
            lease: renewed,
            file: context.lease_file.clone().map(LeaseFile::new),
            superseded: Arc::clone(&superseded),
            beat: context.liveness.watch("the state's writer"),
        };
        tokio::spawn(writer.run());
        Self {
            changes,
            wanted,
            lease,
            superseded,
            clock: context.clock.clone(),
        }
    }

    /// The state with all changes so far, stored or not.
    pub(crate) fn state(&self) -> State {
        self.wanted.lock().clone()
    }

    /// Changes the state and waits until it is stored, however long that takes. Never returns if
    /// another agent has taken the worker over.
    pub(crate) async fn store(&self, apply: impl FnOnce(&mut State)) {
        let (stored, answer) = oneshot::channel();
        self.change(apply, Some(stored), true);
        if answer.await.is_err() {
            // The loop ends this task.
            std::future::pending::<()>().await;
        }
    }

    /// Changes the state, to be stored at once.
    pub(crate) fn store_soon(&self, apply: impl FnOnce(&mut State)) {
        self.change(apply, None, true);
    }

    /// Changes the state, to be stored with the next write.
    pub(crate) fn note(&self, apply: impl FnOnce(&mut State)) {
        self.change(apply, None, false);
    }

    fn change(
        &self,
        apply: impl FnOnce(&mut State),
        stored: Option<oneshot::Sender<()>>,
        urgent: bool,
    ) {
        // Changes are applied here in order, and `state` shows them at once; the writer stores the
        // result.
        apply(&mut self.wanted.lock());
        let _ = self.changes.send(Change { stored, urgent });
    }

    /// Whether the lease holds now (rule 8).
    pub(crate) fn lease_holds(&self) -> bool {
        self.lease.borrow().holds(self.clock.steady())
    }

    /// The number of the current tenure, the time between two ends of the lease; `None` while the
    /// lease has ended. While this number stays the same, the lease has held without a gap.
    pub(crate) fn tenure(&self) -> Option<u64> {
        let (term, now) = (*self.lease.borrow(), self.clock.steady());
        term.holds(now).then(|| term.lapses(now))
    }

    /// How often the lease has ended so far, whether or not it was renewed since.
    pub(crate) fn lapses(&self) -> u64 {
        self.lease.borrow().lapses(self.clock.steady())
    }

    /// Follows the lease.
    pub(crate) fn lease(&self) -> Lease {
        Lease::new(self.lease.clone(), self.clock.clone())
    }

    /// Turns true when another agent writes this worker's state.
    pub(crate) fn superseded(&self) -> watch::Receiver<bool> {
        self.superseded.subscribe()
    }

    /// Ends this agent as if another one had taken over.
    pub(crate) fn supersede(&self) {
        self.superseded.send_replace(true);
    }
}

/// Ends when the flag is set.
pub(crate) async fn turns_true(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|set| *set).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The task that writes.
struct Writer {
    ledger: Arc<dyn Ledger>,
    clock: Clock,
    timing: Timing,
    worker: WorkerId,
    wanted: Arc<Mutex<State>>,
    stored: Option<Stored<State>>,
    requests: mpsc::UnboundedReceiver<Change>,
    lease: watch::Sender<Term>,
    file: Option<LeaseFile>,
    superseded: Arc<watch::Sender<bool>>,
    beat: Beat,
}

impl Writer {
    async fn run(mut self) {
        let mut heartbeat = tokio::time::interval(self.timing.heartbeat);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut superseded = self.superseded.subscribe();
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                _ = heartbeat.tick() => {}
                () = turns_true(&mut superseded) => return,
                change = self.requests.recv() => match change {
                    Some(change) => {
                        waiting.extend(change.stored);
                        if !change.urgent { continue }
                    }
                    None => return,
                },
            }
            // All changes up to here go into the same write.
            while let Ok(change) = self.requests.try_recv() {
                waiting.extend(change.stored);
            }
            if !self.write().await {
                self.superseded.send_replace(true);
                return;
            }
            heartbeat.reset();
            for stored in waiting.drain(..) {
                // Somebody who has stopped waiting needs no answer.
                let _ = stored.send(());
            }
        }
    }

    /// Writes the wanted state until it is stored. `false` if another agent has taken over.
    async fn write(&mut self) -> bool {
        let key = Key::state(&self.worker);
        loop {
            self.beat.now();
            let sent_at = self.clock.steady();
            let mut next = self.wanted.lock().clone();
            next.written_at = self.clock.now();
            next.counter = self.stored.as_ref().map_or(0, |old| old.value.counter + 1);
            let answer = match &self.stored {
                Some(old) => replace(&*self.ledger, &key, old, next.clone()).await,
                None => create(&*self.ledger, &key, next.clone()).await,
            };
            if let Ok(Some(stored)) = answer {
                self.renewed(stored, sent_at).await;
                return true;
            }
            if let Err(error) = &answer {
                tracing::warn!(%error, "the state was not stored yet");
            }
            match read(&*self.ledger, &key).await {
                // The write was applied although its answer was lost. An earlier try with the same
                // counter does not count: it may contain less, and the lease must not run from the
                // sending of this later try (rule 8).
                Ok(Some(found)) if found.value == next => {
                    self.renewed(found, sent_at).await;
                    return true;
                }
                Ok(Some(found)) if found.value.boot != next.boot && !self.is_known(&found) => {
                    tracing::error!(worker = self.worker.instance(), "another agent took over");
                    return false;
                }
                Ok(found) => self.stored = found,
                Err(error) => self.unreadable(&error),
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    /// Whether this is the state from which this agent began: an earlier agent's last one.
    fn is_known(&self, found: &Stored<State>) -> bool {
        self.stored
            .as_ref()
            .is_some_and(|stored| stored.etag == found.etag)
    }

    fn unreadable(&self, error: &Error) {
        tracing::warn!(%error, worker = self.worker.instance(), "the state can't be read either");
    }

    /// Renews the lease, which runs from the sending of the answered write (rule 8).
    async fn renewed(&mut self, stored: Stored<State>, sent_at: Duration) {
        debug_assert!(
            stored.value.counter() >= self.stored.as_ref().map_or(0, |s| s.value.counter)
        );
        self.stored = Some(stored);
        let until = sent_at + self.timing.lease;
        if let Some(file) = &mut self.file {
            file.write(until).await;
        }
        // Only now, because up to here the watchdog used the old end.
        let now = self.clock.steady();
        self.lease
            .send_modify(|term| *term = term.renewed(until, now));
    }
}
