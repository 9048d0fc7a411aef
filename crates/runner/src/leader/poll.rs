//! Asking GitLab for jobs, and taking them in.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use onspot_gitlab::{AssignedJob, Error, JobPayload, JobPoll, JobRequestOutcome, Variables};
use onspot_ledger::{
    JobKey, JobLabel, JobPayload as RawPayload, Key, Record, Restart, RunnerName, Verdict, create,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::permits::Permits;
use super::{LeaderContext, Seat, chain};

/// How long a job may take for which GitLab names no limit: its own default.
const DEFAULT_TIMEOUT: Duration = Duration::from_hours(1);
/// GitLab's clock runs from its 201 on; so much of the job's time is left unused, so that the
/// last word is ours.
const RESERVE: Duration = Duration::from_mins(1);
/// The first wait after a failed request; it doubles up to [`SLOWEST`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a failed request.
const SLOWEST: Duration = Duration::from_secs(30);
/// A request that took this long was held by GitLab.
const HELD: Duration = Duration::from_secs(1);
/// The second pause in a row after an answer with another `last_update`; the first is none.
const FIRST_AGAIN: Duration = Duration::from_millis(100);
/// The longest wait between tries to write a record: the job is in nobody else's hands.
const SLOWEST_WRITE: Duration = Duration::from_secs(5);
/// How long a request that is on its way may still be answered when no more are to be sent:
/// GitLab may be handing a job out at this very moment.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// Asks for jobs for one runner, one request at a time, while the rounds permit it.
pub(crate) async fn poll(
    context: Arc<LeaderContext>,
    runner: RunnerName,
    permits: Permits,
    wake: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut poller = Poller {
        seat: &context.runners[&runner],
        context: &context,
        runner: &runner,
        last_update: None,
        wait: FIRST_WAIT,
        again: Again::default(),
    };
    loop {
        let (asking, begun) = tokio::select! {
            () = stop.cancelled() => return,
            asking = permits.take(&runner) => (asking, context.clock.steady()),
        };
        let request = poller.seat.source.request_job(poller.last_update.clone());
        let Some(answer) = before(&stop, request).await else {
            return;
        };
        let pause = poller.answered(answer, begun).await;
        drop(asking);
        wake.notify_one();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Who asks, and what is known from the answers so far.
struct Poller<'a> {
    context: &'a LeaderContext,
    runner: &'a RunnerName,
    seat: &'a Seat,
    last_update: Option<String>,
    /// How long the next failure pauses.
    wait: Duration,
    again: Again,
}

impl Poller<'_> {
    /// Does what an answer asks for; how long to pause then.
    async fn answered(&mut self, answer: Result<JobPoll, Error>, begun: Duration) -> Duration {
        let (context, runner) = (self.context, self.runner);
        match answer {
            Ok(poll) => {
                let news = poll.last_update.is_some() && poll.last_update != self.last_update;
                self.last_update = poll.last_update.or(self.last_update.take());
                self.wait = FIRST_WAIT;
                match poll.outcome {
                    // From here on nothing may end this task before the record stands.
                    JobRequestOutcome::Job(assigned) => {
                        take_in(context, runner, self.seat, *assigned).await;
                        self.again = Again::default();
                        Duration::ZERO
                    }
                    JobRequestOutcome::NoJob | JobRequestOutcome::Conflict => {
                        let took = context.clock.steady().saturating_sub(begun);
                        self.again.after_nothing(news, took, context.check_interval)
                    }
                    JobRequestOutcome::Forbidden => {
                        tracing::error!(%runner, "GitLab does not know this runner any more");
                        SLOWEST
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

/// How soon to ask again when there was no job.
///
/// GitLab holds a request as long as its queue is as the request's `last_update` says, and answers
/// at once if it is not: an answer with another value says nothing but "ask again with this". Only
/// that next request is held, so a job that comes in a pause before it waits for nothing. Where
/// the queue changes all the time, the pauses grow to the check interval.
#[derive(Debug, Default)]
struct Again {
    next: Duration,
}

impl Again {
    /// The pause after a request that `took` so long and gave no job; `news` if it gave another
    /// `last_update` than it was sent with.
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

/// The answer to a request; `None` if it was cut off after `stop`. One that is there is always
/// taken: it may hold a job that nobody else knows of.
async fn before<T>(stop: &CancellationToken, request: impl Future<Output = T>) -> Option<T> {
    let mut request = std::pin::pin!(request);
    tokio::select! {
        biased;
        answer = &mut request => return Some(answer),
        () = stop.cancelled() => {}
    }
    tokio::time::timeout(LAST_ANSWER, request).await.ok()
}

/// Writes a received job down, payload first (rule 1), and only then tells GitLab.
async fn take_in(context: &LeaderContext, runner: &RunnerName, seat: &Seat, assigned: AssignedJob) {
    let AssignedJob { raw, job } = assigned;
    let now = context.clock.now();
    let key = JobKey::new(runner, job.id.0);
    let record = Record::received(
        label_of(&job),
        restart_of(&job),
        now,
        deadline_of(&job, now),
    );
    tracing::info!(job = key.id, %runner, name = record.label.name,
        project = record.label.project, "received");
    write_down(context, &key, raw, record).await;
    let coordinator = Arc::clone(&seat.coordinator);
    tokio::spawn(async move {
        if let Err(error) = coordinator.keep_alive(&job).await {
            tracing::warn!(job = job.id.0, %error, "GitLab was not told that the job is taken");
        }
    });
}

/// Writes down a job whose payload is beyond this version: it is to be failed.
async fn take_in_unreadable(
    context: &LeaderContext,
    runner: &RunnerName,
    id: u64,
    token: &str,
    source: &serde_json::Error,
) {
    let now = context.clock.now();
    let verdict = Verdict::failed(
        "runner_system_failure",
        format!("this version of onspot can't read the job: {source}"),
    );
    let record = Record::received(
        JobLabel::default(),
        Restart::Never,
        now,
        now + DEFAULT_TIMEOUT,
    );
    let record = record.finishing(verdict, now).unwrap_or(record);
    let raw = serde_json::json!({"id": id, "token": token});
    write_down(context, &JobKey::new(runner, id), raw, record).await;
}

/// Goes on until both objects stand. A refusal means that they do: only who received the job
/// writes them, and an earlier try may have been applied.
async fn write_down(context: &LeaderContext, key: &JobKey, raw: serde_json::Value, record: Record) {
    let ledger = &*context.ledger;
    let mut wait = Duration::from_millis(100);
    loop {
        let written = async {
            create(
                ledger,
                &Key::job_payload(key),
                RawPayload { raw: raw.clone() },
            )
            .await?;
            create(ledger, &Key::record(key), record.clone()).await
        };
        match written.await {
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(job = key.id, error = %chain(&error), "not written down yet");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(SLOWEST_WRITE);
    }
}

fn label_of(job: &JobPayload) -> JobLabel {
    let info = &job.job_info;
    let path = &info.project_full_path;
    let project = if path.is_empty() {
        &info.project_name
    } else {
        path
    };
    JobLabel {
        project: project.clone(),
        name: info.name.clone(),
        stage: info.stage.clone(),
    }
}

/// `ONSPOT_RESTART` decides; without it, a job that deploys or is on a tag is not started twice.
fn restart_of(job: &JobPayload) -> Restart {
    let variables = Variables::of(job);
    let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    match variables.get("ONSPOT_RESTART") {
        Some("never") => Restart::Never,
        Some("always") => Restart::Allowed,
        _ if is_set("CI_ENVIRONMENT_NAME") || is_set("CI_COMMIT_TAG") => Restart::Never,
        _ => Restart::Allowed,
    }
}

fn deadline_of(job: &JobPayload, received_at: Timestamp) -> Timestamp {
    let timeout = match job.runner_info.timeout {
        0 => DEFAULT_TIMEOUT,
        seconds => Duration::from_secs(seconds),
    };
    // A very short job keeps half of its time.
    let usable = timeout.saturating_sub(RESERVE).max(timeout / 2);
    let usable = SignedDuration::try_from(usable).unwrap_or(SignedDuration::from_hours(24 * 30));
    received_at.checked_add(usable).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use onspot_gitlab::Variable;

    use super::*;

    fn job(variables: &[(&str, &str)]) -> JobPayload {
        let variables = variables.iter().map(|(key, value)| Variable {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            ..Variable::default()
        });
        JobPayload {
            variables: variables.collect(),
            ..JobPayload::default()
        }
    }

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

    #[test]
    fn jobs_that_deploy_or_are_on_a_tag_are_not_started_twice() {
        assert_eq!(restart_of(&job(&[])), Restart::Allowed);
        assert_eq!(
            restart_of(&job(&[("CI_ENVIRONMENT_NAME", "prod")])),
            Restart::Never
        );
        assert_eq!(
            restart_of(&job(&[("CI_ENVIRONMENT_NAME", "")])),
            Restart::Allowed
        );
        assert_eq!(restart_of(&job(&[("CI_COMMIT_TAG", "v1")])), Restart::Never);
        assert_eq!(
            restart_of(&job(&[("ONSPOT_RESTART", "never")])),
            Restart::Never
        );
        let asked = [("CI_COMMIT_TAG", "v1"), ("ONSPOT_RESTART", "always")];
        assert_eq!(restart_of(&job(&asked)), Restart::Allowed);
    }

    #[test]
    fn the_deadline_leaves_a_minute_of_gitlabs_time() {
        let deadline = |timeout| {
            let mut job = job(&[]);
            job.runner_info.timeout = timeout;
            deadline_of(&job, Timestamp::UNIX_EPOCH).as_second()
        };
        assert_eq!(deadline(3600), 3540);
        assert_eq!(deadline(0), 3540);
        assert_eq!(deadline(60), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_there_is_taken_and_a_long_poll_is_cut() {
        let stop = CancellationToken::new();
        stop.cancel();
        for _ in 0..100 {
            assert_eq!(before(&stop, async { 1 }).await, Some(1));
        }
        let soon = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            2
        };
        assert_eq!(before(&stop, soon).await, Some(2));
        assert_eq!(before(&stop, std::future::pending::<()>()).await, None);
    }
}
