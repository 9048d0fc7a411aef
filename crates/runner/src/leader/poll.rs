//! Asks GitLab for jobs, and takes them in.

use std::sync::Arc;
use std::time::Duration;

use onspot_gitlab::{Error, JobPoll, JobRequestOutcome};
use onspot_ledger::{JobKey, RunnerName};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::payload::Payloads;
use super::permits::Permits;
use super::receive::{take_in, take_in_unreadable};
use super::refused::Refusals;
use super::{LeaderContext, RunnerContext, chain};

/// The first wait after a failed request; it doubles up to [`SLOWEST`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a failed request.
const SLOWEST: Duration = Duration::from_secs(30);
/// A request that took this long was held by GitLab.
const HELD: Duration = Duration::from_secs(1);
/// The pause after the second answer in a row with another `last_update`; after the first there is
/// none.
const FIRST_AGAIN: Duration = Duration::from_millis(100);

/// What the requests for jobs and the rounds share.
#[derive(Clone)]
pub(crate) struct Intake {
    /// How many requests may be sent.
    pub permits: Permits,
    /// The payloads that came with the jobs.
    pub payloads: Payloads,
    /// Wakes the rounds.
    pub wake: Arc<Notify>,
}

/// Asks for jobs for one runner, one request at a time, while the rounds permit it.
///
/// After `stop` it sends no more requests. An open one is never cut off: GitLab may be answering it
/// with a job at this moment, and a 201 that nobody reads is a lost job.
pub(crate) async fn poll(
    context: Arc<LeaderContext>,
    runner: RunnerName,
    intake: Intake,
    stop: CancellationToken,
) {
    let mut poller = Poller {
        runner_context: &context.runners[&runner],
        context: &context,
        runner: &runner,
        intake: &intake,
        last_update: None,
        wait: FIRST_WAIT,
        again: Again::default(),
        refusals: Refusals::default(),
    };
    loop {
        let (asking, begun) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            asking = intake.permits.take(&runner) => (asking, context.clock.steady()),
        };
        let request = poller
            .runner_context
            .source
            .request_job(poller.last_update.clone());
        let answer = request.await;
        let pause = poller.answered(answer, begun).await;
        drop(asking);
        intake.wake.notify_one();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The requester, with what it knows from the answers so far.
struct Poller<'a> {
    context: &'a LeaderContext,
    runner: &'a RunnerName,
    runner_context: &'a RunnerContext,
    intake: &'a Intake,
    last_update: Option<String>,
    /// How long the next failure pauses.
    wait: Duration,
    again: Again,
    refusals: Refusals,
}

impl Poller<'_> {
    /// Handles an answer; returns the pause before the next request.
    async fn answered(&mut self, answer: Result<JobPoll, Error>, begun: Duration) -> Duration {
        let (context, runner) = (self.context, self.runner);
        if !matches!(&answer, Ok(poll) if poll.outcome == JobRequestOutcome::Forbidden) {
            self.refusals = Refusals::default();
        }
        match answer {
            Ok(poll) => {
                let news = poll.last_update.is_some() && poll.last_update != self.last_update;
                self.last_update = poll.last_update.or(self.last_update.take());
                self.wait = FIRST_WAIT;
                match poll.outcome {
                    // From here on nothing may end this task before the record is written.
                    JobRequestOutcome::Job(assigned) => {
                        self.intake
                            .payloads
                            .note(&JobKey::new(runner, assigned.job.id.0), &assigned.raw);
                        take_in(context, runner, self.runner_context, *assigned).await;
                        self.again = Again::default();
                        Duration::ZERO
                    }
                    JobRequestOutcome::NoJob | JobRequestOutcome::Conflict => {
                        let took = context.clock.steady().saturating_sub(begun);
                        self.again.after_nothing(news, took, context.check_interval)
                    }
                    JobRequestOutcome::Forbidden => {
                        let pause = self.refusals.next_pause();
                        tracing::error!(%runner, ?pause, "GitLab refuses this runner's token");
                        pause
                    }
                }
            }
            Err(Error::Payload {
                job: Some((id, token)),
                source,
            }) => {
                tracing::error!(%runner, job = id.0, %source, "GitLab sent a job that can't be read");
                take_in_unreadable(context, runner, id.0, token.expose(), &source).await;
                Duration::ZERO
            }
            Err(error) => {
                tracing::warn!(%runner, error = %chain(&error), "no answer to a job request");
                let pause = error.retry_after().unwrap_or(self.wait);
                self.wait = (self.wait * 2).min(SLOWEST);
                pause
            }
        }
    }
}

/// Decides how soon to ask again when there was no job.
///
/// GitLab holds a request while the request's `last_update` matches its queue, and answers at once
/// otherwise. An answer with another value only means "ask again with this"; GitLab holds only that
/// next request. A pause before it would needlessly delay a job that arrives meanwhile, so the
/// first pause is zero. If the queue changes all the time, the pauses grow to the check interval.
#[derive(Debug, Default)]
struct Again {
    next: Duration,
}

impl Again {
    /// The pause after a request that `took` this long and gave no job. `news` means that its
    /// answer had another `last_update` than the request.
    fn after_nothing(&mut self, news: bool, took: Duration, check_interval: Duration) -> Duration {
        if took >= HELD {
            self.next = Duration::ZERO;
        }
        let left = check_interval.saturating_sub(took);
        if !news {
            return left;
        }
        let pause = self.next.min(left);
        self.next = (self.next * 2).max(FIRST_AGAIN).min(check_interval);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_asked_about_at_once_and_then_less_and_less() {
        let millis = Duration::from_millis;
        let (interval, quick) = (Duration::from_secs(3), millis(5));
        let mut again = Again::default();
        let mut pause = |news, took| again.after_nothing(news, took, interval);
        assert_eq!(pause(true, quick), Duration::ZERO);
        let more: Vec<_> = (0..6).map(|_| pause(true, quick)).collect();
        let grown = [100, 200, 400, 800, 1600, 2995].map(millis);
        assert_eq!(more, grown);
        assert_eq!(pause(true, Duration::from_secs(2)), Duration::ZERO);
        assert_eq!(pause(false, quick), millis(2995), "no long polling here");
        assert_eq!(pause(false, Duration::from_secs(50)), Duration::ZERO);
    }
}
