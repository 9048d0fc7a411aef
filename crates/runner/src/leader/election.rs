//! The leader's lease: `run/leader`.
//!
//! The lead avoids duplicate work; safety does not depend on it: a deposed leader that finishes
//! what it had begun does no harm (rules 1 to 5). So timeouts alone may decide who leads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use onspot_ledger::{
    Error, Greeting, Key, Leader, Ledger, ManagerId, RunnerName, Stored, Watched, create, read,
    replace,
};
use onspot_settings::Timing;

use crate::clock::Clock;

/// One manager's part in the election.
#[derive(Debug)]
pub(crate) struct Election {
    me: ManagerId,
    version: String,
    /// The address of this manager's cache of images, for the workers.
    registry: Option<SocketAddr>,
    clock: Clock,
    timing: Timing,
    watched: Watched<(u64, u64)>,
    held: Option<Held>,
}

/// The lead, held.
#[derive(Debug)]
struct Held {
    stored: Stored<Leader>,
    /// When the last answered renewal was sent, on the steady clock.
    renewed: Duration,
}

/// What the leader says with each renewal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Whether GitLab accepts each runner's token.
    pub greetings: BTreeMap<RunnerName, Greeting>,
    /// What keeps each runner from launching workers.
    pub launches: BTreeMap<RunnerName, String>,
    /// What is set aside, and why.
    pub aside: BTreeMap<String, String>,
}

/// The result of one step of the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lead {
    /// This manager leads.
    Mine,
    /// Another manager leads, or it is not known yet.
    Others,
}

impl Election {
    pub(crate) fn new(me: ManagerId, version: &str, clock: Clock, timing: Timing) -> Self {
        let watched = Watched::new();
        Self {
            me,
            version: version.to_owned(),
            registry: None,
            clock,
            timing,
            watched,
            held: None,
        }
    }

    /// Sets the address of the manager's cache of images, if it has one.
    pub(crate) fn telling_of(self, registry: Option<SocketAddr>) -> Self {
        Self { registry, ..self }
    }

    /// The term in which this manager leads.
    pub(crate) fn term(&self) -> Option<u64> {
        self.held.as_ref().map(|held| held.stored.value.term)
    }

    /// Tries to take the lead, or to keep it. Call this every third of the lead's time.
    pub(crate) async fn step(&mut self, ledger: &dyn Ledger, news: &News) -> Lead {
        let result = match self.held.take() {
            Some(held) => self.renew(ledger, held, news).await,
            None => self.watch(ledger).await,
        };
        if let Err(error) = result {
            tracing::warn!(%error, "the lead could not be looked at");
        }
        if self.held.is_some() {
            Lead::Mine
        } else {
            Lead::Others
        }
    }

    /// Steps down at once, so that nobody has to wait. Running jobs are not affected.
    pub(crate) async fn release(&mut self, ledger: &dyn Ledger) {
        let Some(Held { stored, .. }) = self.held.take() else {
            return;
        };
        match replace(ledger, &Key::leader(), &stored, stored.value.released()).await {
            Ok(_) => tracing::info!(manager = %self.me, "stepped down"),
            Err(error) => tracing::warn!(%error, "could not step down; others will notice"),
        }
    }

    async fn renew(&mut self, ledger: &dyn Ledger, held: Held, news: &News) -> Result<(), Error> {
        let sent_at = self.clock.steady();
        let next = Leader {
            runners: news.greetings.clone(),
            launches: news.launches.clone(),
            aside: news.aside.clone(),
            ..held.stored.value.clone()
        };
        let written = self.write(ledger, &held.stored, next).await;
        match written {
            Ok(Some(stored)) => {
                self.held = Some(Held {
                    stored,
                    renewed: sent_at,
                });
            }
            Ok(None) => tracing::warn!(manager = %self.me, "another manager leads"),
            Err(error) => {
                let unsure = self.clock.steady().saturating_sub(held.renewed);
                if unsure < self.timing.leader {
                    self.held = Some(held);
                } else {
                    tracing::warn!(manager = %self.me, "gave up the lead: it could not be renewed");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn watch(&mut self, ledger: &dyn Ledger) -> Result<(), Error> {
        let key = Key::leader();
        let now = self.clock.now();
        let sent_at = self.clock.steady();
        let taken = match read(ledger, &key).await? {
            None => {
                let first = Leader {
                    registry: self.registry,
                    ..Leader::first(&self.me, &self.version, now)
                };
                let answer = create(ledger, &key, first.clone()).await;
                Self::looked_after(ledger, answer, &first).await?
            }
            Some(found) => {
                let mark = (found.value.term, found.value.counter);
                let silent = self.watched.silent_for(mark, self.clock.steady());
                if found.value.holder.is_some() && silent < self.timing.leader {
                    return Ok(());
                }
                let next = Leader {
                    registry: self.registry,
                    ..found.value.taken_over(&self.me, &self.version, now)
                };
                self.write(ledger, &found, next).await?
            }
        };
        if let Some(stored) = taken {
            tracing::info!(manager = %self.me, term = stored.value.term, "took the lead");
            self.held = Some(Held {
                stored,
                renewed: sent_at,
            });
        }
        Ok(())
    }

    /// Writes, and checks whether a refused or unanswered write was applied after all: a manager
    /// must recognise its own write ([`looked_after`](Self::looked_after)).
    async fn write(
        &self,
        ledger: &dyn Ledger,
        old: &Stored<Leader>,
        next: Leader,
    ) -> Result<Option<Stored<Leader>>, Error> {
        let key = Key::leader();
        let sent = Leader {
            counter: old.value.counter + 1,
            ..next.clone()
        };
        let answer = replace(ledger, &key, old, next).await;
        Self::looked_after(ledger, answer, &sent).await
    }

    /// The result of a write. Unless it succeeded, the object is read to find out.
    async fn looked_after(
        ledger: &dyn Ledger,
        answer: Result<Option<Stored<Leader>>, Error>,
        sent: &Leader,
    ) -> Result<Option<Stored<Leader>>, Error> {
        if let Ok(Some(stored)) = answer {
            return Ok(Some(stored));
        }
        match read(ledger, &Key::leader()).await? {
            Some(found) if found.value.is_write_of(sent) => Ok(Some(found)),
            _ => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onspot_ledger::MemoryLedger;

    use super::*;

    fn election(name: &str) -> Election {
        let clock = Clock::runtime(Timestamp::UNIX_EPOCH);
        Election::new(ManagerId::new(name), "1", clock, Timing::default())
    }

    async fn seconds(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_leader_is_replaced_after_15_s_on_the_watchers_clock() {
        let (ledger, none) = (MemoryLedger::new(), News::default());
        let (mut a, mut b) = (election("a"), election("b"));
        assert_eq!(a.step(&ledger, &none).await, Lead::Mine);
        seconds(14).await;
        assert_eq!(
            b.step(&ledger, &none).await,
            Lead::Others,
            "it sees it for the first time"
        );
        seconds(14).await;
        assert_eq!(b.step(&ledger, &none).await, Lead::Others);
        seconds(1).await;
        assert_eq!(b.step(&ledger, &none).await, Lead::Mine);
        assert_eq!(b.term(), Some(2));
        assert_eq!(
            a.step(&ledger, &none).await,
            Lead::Others,
            "the deposed one finds out"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_renews_keeps_the_lead_and_one_that_steps_down_frees_it_at_once() {
        let (ledger, none) = (MemoryLedger::new(), News::default());
        let (mut a, mut b) = (election("a"), election("b"));
        for _ in 0..10 {
            assert_eq!(a.step(&ledger, &none).await, Lead::Mine);
            assert_eq!(b.step(&ledger, &none).await, Lead::Others);
            seconds(5).await;
        }
        a.release(&ledger).await;
        assert_eq!(b.step(&ledger, &none).await, Lead::Mine);
    }

    #[tokio::test(start_paused = true)]
    async fn the_leaders_cache_of_images_is_the_one_that_is_told() {
        let (ledger, none) = (MemoryLedger::new(), News::default());
        let told = async || {
            let stored = read::<Leader>(&ledger, &Key::leader()).await.unwrap();
            stored.unwrap().value.registry
        };
        let at = |address: &str| Some(address.parse::<SocketAddr>().unwrap());
        let mut a = election("a").telling_of(at("10.0.0.1:5000"));
        let mut b = election("b").telling_of(at("10.0.0.2:5000"));
        let mut c = election("c");
        a.step(&ledger, &none).await;
        assert_eq!(told().await, at("10.0.0.1:5000"));
        a.step(&ledger, &none).await;
        assert_eq!(told().await, at("10.0.0.1:5000"), "also when it is renewed");
        a.release(&ledger).await;
        b.step(&ledger, &none).await;
        assert_eq!(told().await, at("10.0.0.2:5000"));
        b.release(&ledger).await;
        c.step(&ledger, &none).await;
        assert_eq!(told().await, None);
    }
}
