//! Waits until the leading manager has said hello to GitLab for every runner.

use std::time::Duration;

use onspot_ledger::{Key, Leader, Ledger, RunnerName, S3Ledger, read};
use onspot_reconcile::{EventSender, Step};
use tokio::time::{Instant, sleep};

use crate::names::Names;
use crate::spec::Spec;
use crate::waits::diagnosis;
use crate::{Clients, Error};

/// The pause between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// The leader's object as it was before managers were changed.
pub(crate) struct Hello {
    ledger: S3Ledger,
    before: Option<Leader>,
}

impl Hello {
    /// Records the leader before managers are changed.
    pub(crate) async fn before(clients: &Clients, bucket: &str) -> Result<Self, Error> {
        let ledger = ledger(clients, bucket);
        let before = leader(&ledger).await?;
        Ok(Self { ledger, before })
    }
}

/// The stack's ledger.
pub(crate) fn ledger(clients: &Clients, bucket: &str) -> S3Ledger {
    S3Ledger::new(clients.s3.clone(), bucket, onspot_ledger::DEFAULT_PREFIX)
}

async fn leader(ledger: &dyn Ledger) -> Result<Option<Leader>, Error> {
    let found = read(ledger, &Key::leader()).await.map_err(Error::Ledger)?;
    Ok(found.map(|stored| stored.value))
}

/// Waits at most `patience`. If managers were `changed`, only a new leader's hello counts.
pub(crate) async fn wait(
    hello: &Hello,
    spec: &Spec,
    clients: &Clients,
    names: &Names,
    changed: bool,
    patience: Duration,
    events: &EventSender,
) -> Result<(), Error> {
    let before = hello.before.as_ref().filter(|_| changed);
    let step = Step::start(events, "hello of the manager to GitLab");
    let end = Instant::now() + patience;
    let mut told = String::new();
    loop {
        let missing = match leader(&hello.ledger).await {
            Ok(leader) => missing(spec, leader.as_ref(), before),
            Err(Error::Ledger(error)) => Some(format!("the ledger to be readable ({error})")),
            Err(error) => Some(error.to_string()),
        };
        let Some(missing) = missing else {
            step.done(None);
            return Ok(());
        };
        if Instant::now() + EVERY > end {
            let error = Error::NoHello {
                seconds: patience.as_secs(),
                missing: missing.clone(),
                diagnosis: diagnosis::of_managers(clients, names).await,
            };
            step.failed(&error);
            return Err(error);
        }
        if missing != told {
            step.waiting(&missing);
            told = missing;
        }
        sleep(EVERY).await;
    }
}

/// What is still missing, for people; `None` when every runner was greeted.
fn missing(spec: &Spec, leader: Option<&Leader>, before: Option<&Leader>) -> Option<String> {
    let Some(leader) = leader.filter(|leader| leader.holder.is_some()) else {
        return Some("a manager to take the lead".to_owned());
    };
    if before.is_some_and(|before| leader.term <= before.term) {
        return Some("the new manager to take the lead".to_owned());
    }
    spec.runners.iter().find_map(|runner| {
        let name = RunnerName::new(&runner.name);
        let greeting = leader.runners.get(&name);
        let earlier = before.and_then(|before| before.runners.get(&name));
        match greeting {
            Some(greeting) if greeting.error.is_some() => {
                let error = greeting.error.as_deref().unwrap_or_default();
                Some(format!("runner {:?} ({error})", runner.name))
            }
            Some(greeting)
                if greeting.verified_at > earlier.and_then(|earlier| earlier.verified_at) =>
            {
                None
            }
            _ => Some(format!("runner {:?}", runner.name)),
        }
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onspot_ledger::{Greeting, ManagerId};

    use super::*;

    fn spec() -> Spec {
        let text = "[[runners]]\nname = 'a'\nurl = 'https://gitlab.com'\ntoken = 'glrt-x'\n";
        Spec::parse(text, "onspot.toml").unwrap()
    }

    fn leader(second: i64, error: Option<&str>) -> Leader {
        let mut leader = Leader::first(&ManagerId::new("i-1"), "1", Timestamp::UNIX_EPOCH);
        let verified_at = Some(Timestamp::from_second(second).unwrap());
        let greeting = Greeting {
            verified_at,
            error: error.map(str::to_owned),
        };
        leader.runners.insert(RunnerName::new("a"), greeting);
        leader
    }

    #[test]
    fn every_runner_must_be_greeted() {
        assert!(
            missing(&spec(), None, None)
                .unwrap()
                .contains("take the lead")
        );
        assert!(missing(&spec(), Some(&leader(5, None).released()), None).is_some());
        assert_eq!(missing(&spec(), Some(&leader(5, None)), None), None);
        let refused = missing(&spec(), Some(&leader(5, Some("refused"))), None).unwrap();
        assert_eq!(refused, "runner \"a\" (refused)");
    }

    #[test]
    fn a_new_manager_must_say_hello_itself() {
        let old = leader(5, None);
        let new = old.taken_over(&ManagerId::new("i-2"), "1", Timestamp::UNIX_EPOCH);
        assert!(
            missing(&spec(), Some(&old), Some(&old))
                .unwrap()
                .contains("new manager")
        );
        assert_eq!(
            missing(&spec(), Some(&new), Some(&old)).unwrap(),
            "runner \"a\""
        );
        let greeted = Leader {
            runners: leader(6, None).runners,
            ..new
        };
        assert_eq!(missing(&spec(), Some(&greeted), Some(&old)), None);
    }
}
