//! One actor's line to the ledger: any call on it can be held, lost, cut off or killed.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

use onspot_ledger::{Answer, Condition, ETag, Error, Ledger, Listed, MemoryLedger, Put};
use tokio::sync::watch;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Get,
    Put,
    List,
    Any,
}

/// What becomes of a call.
#[derive(Debug, Clone)]
enum Effect {
    /// It is not applied before the gate opens.
    Hold(Gate),
    /// It is applied, but answered only when the gate opens.
    HoldAnswer(Gate),
    /// It is applied, and its answer lost, until the gate opens.
    LoseAnswer(Gate),
    /// It fails until the gate opens, and is not applied.
    Fail(Gate),
    /// It panics.
    Break(Gate),
    /// A write conflicts with another one (409) this many times; it is not applied.
    Meet(Arc<Mutex<u32>>),
}

/// Holds calls until it is opened.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    reached: Arc<watch::Sender<bool>>,
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    fn new() -> Self {
        Self {
            reached: Arc::new(watch::Sender::new(false)),
            open: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Waits until a call is held, for at most an hour.
    pub(crate) async fn reached(&self) {
        tokio::time::timeout(Duration::from_hours(1), self.wait())
            .await
            .unwrap();
    }

    /// Waits until a call is held, or for ever.
    pub(crate) async fn wait(&self) {
        let mut reached = self.reached.subscribe();
        reached.wait_for(|reached| *reached).await.unwrap();
    }

    /// Releases what is held, and holds nothing any more.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    async fn pass(&self) {
        self.reached.send_replace(true);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.unwrap();
    }
}

/// A line. Clones are the same line.
#[derive(Clone)]
pub(crate) struct Line {
    ledger: Arc<MemoryLedger>,
    effects: Arc<Mutex<Vec<(Op, String, Effect)>>>,
    latency: Arc<Mutex<Duration>>,
    /// After this many more writes the gate holds everything.
    countdown: Arc<Mutex<Option<(u32, Gate)>>>,
}

impl Line {
    pub(crate) fn new(ledger: Arc<MemoryLedger>) -> Self {
        Self {
            ledger,
            effects: Arc::default(),
            latency: Arc::default(),
            countdown: Arc::default(),
        }
    }

    fn with(&self, op: Op, prefix: &str, effect: impl FnOnce(Gate) -> Effect) -> Gate {
        let gate = Gate::new();
        self.effects
            .lock()
            .push((op, prefix.to_owned(), effect(gate.clone())));
        gate
    }

    /// Holds such calls before they are applied.
    pub(crate) fn hold(&self, op: Op, prefix: &str) -> Gate {
        self.with(op, prefix, Effect::Hold)
    }

    /// Holds the answers of such calls.
    pub(crate) fn hold_answers(&self, op: Op, prefix: &str) -> Gate {
        self.with(op, prefix, Effect::HoldAnswer)
    }

    /// Loses the answers of such calls.
    pub(crate) fn lose_answers(&self, op: Op, prefix: &str) -> Gate {
        self.with(op, prefix, Effect::LoseAnswer)
    }

    /// Makes such calls fail without being applied.
    pub(crate) fn cut(&self, op: Op, prefix: &str) -> Gate {
        self.with(op, prefix, Effect::Fail)
    }

    /// Makes such calls panic.
    pub(crate) fn break_down(&self, op: Op, prefix: &str) -> Gate {
        self.with(op, prefix, Effect::Break)
    }

    /// The next `times` such writes conflict with others.
    pub(crate) fn meet_others(&self, prefix: &str, times: u32) {
        let effect = Effect::Meet(Arc::new(Mutex::new(times)));
        self.effects
            .lock()
            .push((Op::Put, prefix.to_owned(), effect));
    }

    /// Holds everything after `writes` more writes.
    pub(crate) fn hold_after(&self, writes: u32) -> Gate {
        let gate = Gate::new();
        *self.countdown.lock() = Some((writes, gate.clone()));
        gate
    }

    fn count(&self, op: Op) {
        let mut countdown = self.countdown.lock();
        let Some((left, gate)) = &mut *countdown else {
            return;
        };
        if op != Op::Put {
            return;
        }
        if *left == 0 {
            let held = (Op::Any, String::new(), Effect::Hold(gate.clone()));
            self.effects.lock().push(held);
            *countdown = None;
        } else {
            *left -= 1;
        }
    }

    /// Nothing passes any more, ever.
    pub(crate) fn kill(&self) {
        self.effects
            .lock()
            .insert(0, (Op::Any, String::new(), Effect::Hold(Gate::new())));
    }

    /// Sets how long every call takes.
    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.latency.lock() = latency;
    }

    fn effect(&self, op: Op, key: &str) -> Option<Effect> {
        let mut effects = self.effects.lock();
        effects.retain(|(_, _, effect)| match effect {
            Effect::Hold(gate)
            | Effect::HoldAnswer(gate)
            | Effect::LoseAnswer(gate)
            | Effect::Fail(gate)
            | Effect::Break(gate) => !gate.is_open(),
            Effect::Meet(left) => *left.lock() > 0,
        });
        let found = effects
            .iter()
            .find(|(of, prefix, _)| (*of == op || *of == Op::Any) && key.starts_with(prefix));
        found.map(|(_, _, effect)| effect.clone())
    }

    async fn through<T>(
        &self,
        op: Op,
        key: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let latency = *self.latency.lock();
        tokio::time::sleep(latency).await;
        self.count(op);
        match self.effect(op, key) {
            None => call.await,
            Some(Effect::Hold(gate)) => {
                gate.pass().await;
                // A line may have been killed meanwhile.
                if let Some(Effect::Hold(gate)) = self.effect(op, key) {
                    gate.pass().await;
                }
                call.await
            }
            Some(Effect::HoldAnswer(gate)) => {
                let answer = call.await;
                gate.pass().await;
                answer
            }
            Some(Effect::LoseAnswer(gate)) => {
                call.await?;
                gate.reached.send_replace(true);
                Err(timeout(key))
            }
            Some(Effect::Break(_)) => panic!("a call that panics on purpose"),
            // See `put_if`.
            Some(Effect::Meet(_)) => call.await,
            Some(Effect::Fail(gate)) => {
                gate.reached.send_replace(true);
                Err(timeout(key))
            }
        }
    }
}

fn timeout(key: &str) -> Error {
    let limit = Duration::from_secs(10);
    Error::Timeout {
        operation: "call",
        key: key.to_owned(),
        limit,
    }
}

impl Ledger for Line {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<(Vec<u8>, ETag)>> {
        Box::pin(self.through(Op::Get, key, self.ledger.get(key)))
    }

    fn put_if<'a>(&'a self, key: &'a str, body: Vec<u8>, condition: Condition) -> Answer<'a, Put> {
        let call = async move {
            if let Some(Effect::Meet(left)) = self.effect(Op::Put, key) {
                *left.lock() -= 1;
                return Ok(Put::Conflict);
            }
            self.ledger.put_if(key, body, condition).await
        };
        Box::pin(self.through(Op::Put, key, call))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>> {
        Box::pin(self.through(Op::List, prefix, self.ledger.list(prefix)))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(self.through(Op::Put, key, self.ledger.delete(key)))
    }
}
