//! One `up` or `down` of a stack at a time: a lock in its bucket.
//!
//! The lock is an object that its holder rewrites every few seconds, against the version that it
//! wrote last. A waiting process watches it by its own clock, so that clocks are never compared: a
//! lock that does not change for [`STALE`] has lost its holder and is taken over. A holder that
//! finds out that it was too slow stops.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use onspot_ledger::{Condition, ETag, Ledger, Put, S3Ledger, Watched};
use onspot_reconcile::{EventSender, Step};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{Clients, Error};

/// The lock's key in the bucket.
const KEY: &str = "lock";
/// How often the holder renews the lock.
const RENEW: Duration = Duration::from_secs(5);
/// After this long without a renewal the holder counts as gone.
const STALE: Duration = Duration::from_secs(30);
/// How often a waiting process looks at the lock.
const LOOK: Duration = Duration::from_secs(2);

/// The object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// Grows with every write, so that no two contents are equal.
    counter: u64,
    /// `None` if the lock is free.
    holder: Option<Holder>,
}

/// Who holds a lock: for people, and to distinguish holders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Distinguishes this holder from every other.
    id: String,
    /// `up` or `down`.
    doing: String,
    /// The user and the host: `jane@laptop`.
    who: String,
    process: i32,
    /// The host's boot id and the process's namespace, within which the process's number is unique.
    #[serde(default)]
    place: Option<String>,
    since: Timestamp,
}

impl Holder {
    /// This process, with the verb that it runs.
    pub(crate) fn new(doing: &str) -> Self {
        let user = ["USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok())
            .unwrap_or_else(|| "somebody".to_owned());
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy();
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            doing: doing.to_owned(),
            who: format!("{user}@{host}"),
            process: rustix::process::getpid().as_raw_nonzero().get(),
            place: place(),
            since: Timestamp::now(),
        }
    }

    /// Whether it is a process of this host that has ended; then nobody needs to wait for it.
    fn has_ended(&self) -> bool {
        let here = self.place.is_some() && self.place == place();
        let process = rustix::process::Pid::from_raw(self.process);
        here && process.is_some_and(|process| {
            rustix::process::test_kill_process(process) == Err(rustix::io::Errno::SRCH)
        })
    }

    /// The holder and how long it has held the lock, for people.
    fn described(&self, now: Timestamp) -> String {
        let age = Age(self.since.duration_until(now).as_secs());
        format!("{self}, begun {age} ago")
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            doing,
            who,
            process,
            ..
        } = self;
        write!(f, "`onspot {doing}` of {who} (process {process})")
    }
}

/// Seconds, for people.
struct Age(i64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.max(0) {
            seconds @ ..120 => write!(f, "{seconds} s"),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{} h", seconds / 3600),
        }
    }
}

/// Within what this process's number is unique; `None` if the system does not say.
fn place() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// The store that the lock of the stack with this bucket is in.
pub(crate) fn store(clients: &Clients, bucket: &str) -> Arc<dyn Ledger> {
    Arc::new(S3Ledger::new(clients.s3.clone(), bucket, ""))
}

/// The lock, held.
pub(crate) struct Held {
    store: Arc<dyn Ledger>,
    content: Content,
    etag: ETag,
    renewed: Instant,
}

/// Takes the lock of a stack; waits for at most `patience` while somebody else holds it.
pub(crate) async fn take(
    store: Arc<dyn Ledger>,
    me: Holder,
    patience: Duration,
    events: &EventSender,
) -> Result<Held, Error> {
    let end = Instant::now() + patience;
    let mut watch = Watch {
        begun: Instant::now(),
        seen: Watched::new(),
    };
    let mut waiting: Option<Step<'_>> = None;
    loop {
        let holder = match watch.look(&store, &me).await {
            Ok(Look::Taken(held)) => {
                if let Some(step) = waiting {
                    step.done(None);
                }
                return Ok(held);
            }
            Ok(Look::HeldBy(holder)) => holder,
            Err(error) => {
                if let Some(step) = waiting {
                    step.failed(&error);
                }
                return Err(error);
            }
        };
        let holder = holder.described(Timestamp::now());
        if Instant::now() + LOOK > end {
            let error = Error::Locked { holder };
            if let Some(step) = waiting {
                step.failed(&error);
            }
            return Err(error);
        }
        if waiting.is_none() {
            let step = Step::start(events, "lock of the stack");
            step.waiting(format!("{holder}, to end"));
            waiting = Some(step);
        }
        sleep(LOOK).await;
    }
}

/// The result of one look at the lock.
enum Look {
    Taken(Held),
    HeldBy(Holder),
}

/// Measures by this process's clock for how long the lock has not changed.
struct Watch {
    begun: Instant,
    seen: Watched<(String, u64)>,
}

impl Watch {
    /// Looks at the lock, and takes it if it is free or has lost its holder.
    async fn look(&mut self, store: &Arc<dyn Ledger>, me: &Holder) -> Result<Look, Error> {
        loop {
            let sent_at = Instant::now();
            let (counter, condition) = match read(&**store).await? {
                None => (0, Condition::Absent),
                Some((Content { counter, holder }, etag)) => {
                    if let Some(holder) = holder {
                        let mark = (holder.id.clone(), counter);
                        let silent = self.seen.silent_for(mark, self.begun.elapsed());
                        if holder.id != me.id && silent < STALE && !holder.has_ended() {
                            return Ok(Look::HeldBy(holder));
                        }
                        tracing::warn!(%holder, "taking over a lock whose holder is gone");
                    }
                    (counter + 1, Condition::Matches(etag))
                }
            };
            let content = Content {
                counter,
                holder: Some(me.clone()),
            };
            if let Put::Written(etag) = write(&**store, &content, condition).await? {
                return Ok(Look::Taken(Held {
                    store: Arc::clone(store),
                    content,
                    etag,
                    renewed: sent_at,
                }));
            }
            // Somebody was faster, or this is our own write whose answer was lost.
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Held {
    /// Does `work` under the lock, then releases the lock.
    ///
    /// # Errors
    /// Those of `work`; [`Error::LockLost`] if somebody else has taken the lock meanwhile, in which
    /// case `work` is aborted.
    pub(crate) async fn during<T>(
        mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let done = self.keep_during(work).await;
        if !matches!(done, Err(Error::LockLost { .. })) {
            self.release().await;
        }
        done
    }

    /// Does `work` under the lock and does not release it, because it is removed with its bucket.
    ///
    /// # Errors
    /// See [`Held::during`].
    pub(crate) async fn keep_during<T>(
        &mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            done = work => done,
            lost = self.renew_until_lost() => Err(lost),
        }
    }

    /// Renews the lock periodically; ends when the lock is lost.
    async fn renew_until_lost(&mut self) -> Error {
        loop {
            sleep(RENEW).await;
            match self.renew().await {
                Ok(true) => {}
                Ok(false) => {
                    let holder = match read(&*self.store).await {
                        Ok(Some((content, _))) => content.holder,
                        _ => None,
                    };
                    let holder = holder.map(|holder| holder.described(Timestamp::now()));
                    return Error::LockLost { holder };
                }
                Err(error) => {
                    tracing::warn!(%error, "the lock could not be renewed");
                    if self.renewed.elapsed() > STALE {
                        return Error::LockLost { holder: None };
                    }
                }
            }
        }
    }

    /// Writes the next version; returns whether the lock is still ours.
    async fn renew(&mut self) -> Result<bool, Error> {
        let sent_at = Instant::now();
        let next = Content {
            counter: self.content.counter + 1,
            ..self.content.clone()
        };
        let condition = Condition::Matches(self.etag.clone());
        if let Put::Written(etag) = write(&*self.store, &next, condition).await? {
            (self.content, self.etag, self.renewed) = (next, etag, sent_at);
            return Ok(true);
        }
        // An earlier renewal may have been applied without an answer.
        match read(&*self.store).await? {
            Some((content, etag)) if content.holder == self.content.holder => {
                (self.content, self.etag) = (content, etag);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Releases the lock, so that nobody has to wait until it is stale.
    async fn release(self) {
        let released = async {
            let Some((content, etag)) = read(&*self.store).await? else {
                return Ok(());
            };
            if content.holder == self.content.holder {
                let free = Content {
                    counter: content.counter + 1,
                    holder: None,
                };
                write(&*self.store, &free, Condition::Matches(etag)).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = released.await {
            tracing::warn!(%error, "the lock could not be given back; others will notice");
        }
    }
}

/// A lock that can't be read was written by another version. It is shown with a nameless holder and
/// is free only once it does not change any more.
async fn read(store: &dyn Ledger) -> Result<Option<(Content, ETag)>, Error> {
    let found = store.get(KEY).await.map_err(Error::Ledger)?;
    let Some((body, etag)) = found else {
        return Ok(None);
    };
    let content = serde_json::from_slice(&body).unwrap_or_else(|_| Content {
        counter: 0,
        holder: Some(Holder {
            id: etag.as_str().to_owned(),
            doing: "…".to_owned(),
            who: "another version".to_owned(),
            process: 0,
            place: None,
            since: Timestamp::now(),
        }),
    });
    Ok(Some((content, etag)))
}

async fn write(store: &dyn Ledger, content: &Content, condition: Condition) -> Result<Put, Error> {
    let body = serde_json::to_vec(content).unwrap_or_default();
    let put = store.put_if(KEY, body, condition).await;
    put.map_err(Error::Ledger)
}

#[cfg(test)]
mod tests {
    use onspot_ledger::MemoryLedger;
    use onspot_reconcile::event_channel;

    use super::*;

    fn store() -> Arc<dyn Ledger> {
        Arc::new(MemoryLedger::new())
    }

    /// Another host's process.
    fn stranger(who: &str) -> Holder {
        Holder {
            id: who.to_owned(),
            who: who.to_owned(),
            place: Some("elsewhere".to_owned()),
            ..Holder::new("up")
        }
    }

    async fn try_once(store: &Arc<dyn Ledger>, who: &str) -> Result<Held, Error> {
        let (events, _nobody_listens) = event_channel();
        take(Arc::clone(store), stranger(who), Duration::ZERO, &events).await
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_at_once_one_works_and_the_other_is_told_who_and_since_when() {
        let store = store();
        let held = try_once(&store, "jane@laptop").await.unwrap();
        let refused = try_once(&store, "joe@desk").await.err().unwrap();
        let text = refused.to_string();
        assert!(text.contains("`onspot up` of jane@laptop"), "{text}");
        assert!(text.contains("begun 0 s ago"), "{text}");
        assert!(refused.hint().is_some());
        held.during(async { Ok(()) }).await.unwrap();
        try_once(&store, "joe@desk").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_renewed_as_long_as_the_work_takes() {
        let (store, (events, _nobody_listens)) = (store(), event_channel());
        let held = try_once(&store, "jane@laptop").await.unwrap();
        let work = held.during(async {
            sleep(STALE * 10).await;
            Ok(())
        });
        let patient = take(Arc::clone(&store), stranger("joe"), STALE * 9, &events);
        let (worked, waited) = tokio::join!(work, patient);
        worked.unwrap();
        assert!(matches!(waited, Err(Error::Locked { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_lock_when_it_is_given_back() {
        let (store, (events, mut told)) = (store(), event_channel());
        let held = try_once(&store, "jane@laptop").await.unwrap();
        let work = held.during(async {
            sleep(Duration::from_secs(10)).await;
            Ok(())
        });
        let patient = take(Arc::clone(&store), stranger("joe"), STALE, &events);
        let (worked, waited) = tokio::join!(work, patient);
        worked.unwrap();
        waited.unwrap();
        told.recv().await.unwrap();
        let why = told.recv().await.unwrap().to_string();
        assert!(why.contains("jane@laptop"), "{why}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_lock_is_taken_over_and_its_holder_stops() {
        let (store, (events, _nobody_listens)) = (store(), event_channel());
        let slow = try_once(&store, "jane@laptop").await.unwrap();
        // The holder does not renew: its host is suspended.
        let begun = Instant::now();
        let other = take(Arc::clone(&store), stranger("joe"), STALE * 2, &events);
        let other = other.await.unwrap();
        assert!(begun.elapsed() >= STALE, "{:?}", begun.elapsed());
        let work = slow.during(std::future::pending::<Result<(), Error>>());
        let lost = work.await.err().unwrap();
        assert!(lost.to_string().contains("joe"), "{lost}");
        other.during(async { Ok(()) }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_lock_of_a_process_of_this_host_that_has_ended_is_taken_over_at_once() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = Holder {
            process: i32::try_from(child.id()).unwrap(),
            ..Holder::new("up")
        };
        child.wait().unwrap();
        let (store, (events, _nobody_listens)) = (store(), event_channel());
        take(Arc::clone(&store), ended, Duration::ZERO, &events)
            .await
            .unwrap();
        let next = take(store, Holder::new("up"), Duration::ZERO, &events).await;
        assert!(next.is_ok() == place().is_some());
    }
}
