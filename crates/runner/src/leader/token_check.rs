//! Says hello to GitLab to find out whether it accepts each runner's token.
//!
//! A refused token does not end the manager: the reason goes into `run/leader`, where `onspot up`
//! shows it, and the token is retried from time to time, because somebody may fix it in GitLab.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onspot_gitlab::Error;
use onspot_ledger::{Greeting, RunnerName};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::refused::Refusals;
use super::{LeaderContext, chain};

/// The first wait after a failed hello; it doubles up to [`SLOWEST`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between hellos.
const SLOWEST: Duration = Duration::from_mins(1);
/// How often an accepted token is sent again, so that GitLab shows the manager as online.
const HELLO_AGAIN: Duration = Duration::from_hours(1);

/// Says hello for every runner, in the background.
pub(crate) struct TokenCheck {
    greetings: watch::Receiver<BTreeMap<RunnerName, Greeting>>,
    changed: Arc<Notify>,
}

impl TokenCheck {
    pub(crate) fn start(context: &Arc<LeaderContext>, stop: &CancellationToken) -> Self {
        let (told, greetings) = watch::channel(BTreeMap::new());
        let (told, changed) = (Arc::new(told), Arc::new(Notify::new()));
        for name in context.runners.keys().cloned() {
            let check = check(
                Arc::clone(context),
                name,
                Arc::clone(&told),
                Arc::clone(&changed),
            );
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = check => {}
                }
            });
        }
        Self { greetings, changed }
    }

    /// The latest greeting of each runner.
    pub(crate) fn greetings(&self) -> BTreeMap<RunnerName, Greeting> {
        self.greetings.borrow().clone()
    }

    /// Ends when that has changed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

async fn check(
    context: Arc<LeaderContext>,
    name: RunnerName,
    told: Arc<watch::Sender<BTreeMap<RunnerName, Greeting>>>,
    changed: Arc<Notify>,
) {
    let (mut wait, mut refusals) = (FIRST_WAIT, Refusals::default());
    loop {
        let error = context.runners[&name].source.verify().await.err();
        told.send_modify(|greetings| {
            let greeting = greetings.entry(name.clone()).or_default();
            match &error {
                None => {
                    *greeting = Greeting {
                        verified_at: Some(context.clock.now()),
                        error: None,
                    };
                }
                Some(error) => greeting.error = Some(chain(error)),
            }
        });
        changed.notify_one();
        let pause = match &error {
            None => {
                tracing::info!(runner = %name, "GitLab accepts the runner");
                (wait, refusals) = (FIRST_WAIT, Refusals::default());
                HELLO_AGAIN
            }
            Some(error) => {
                let hint = error.hint().unwrap_or_default();
                tracing::error!(runner = %name, error = %chain(error), hint, "no hello to GitLab");
                if matches!(error, Error::Refused { .. }) {
                    refusals.next_pause()
                } else {
                    refusals = Refusals::default();
                    let pause = wait;
                    wait = (wait * 2).min(SLOWEST);
                    pause
                }
            }
        };
        tokio::time::sleep(pause).await;
    }
}
