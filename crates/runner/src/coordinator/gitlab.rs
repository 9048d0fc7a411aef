//! The real GitLab.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use onspot_gitlab::{
    Client, Error, FailureReason, JobPayload, JobPoll, JobUpdate, Remote, RemoteStatus, Reported,
    RunnerIdentity, TraceOptions, TracePosition, TraceSession, TraceStart, TraceSummary,
    TraceWriter, UpdateOutcome, Variables, report_result,
};
use onspot_ledger::{Ending, TraceMark, Verdict};
use onspot_settings::{Runner, feature_flag};
use tokio::sync::watch;

use super::{Coordinator, JobSource, Trace};

/// After this time without output, GitLab is told that a job is alive. Its answer says whether the
/// job was cancelled, so a cancel is noticed this late while a script is silent. GitLab Runner
/// takes 30 s.
const SILENCE: Duration = Duration::from_secs(10);

/// GitLab as the source of jobs for one runner.
#[derive(Debug, Clone)]
pub struct GitLab {
    client: Client,
    identity: RunnerIdentity,
}

impl GitLab {
    /// The GitLab behind `client`, for the runner `identity`.
    pub fn new(client: Client, identity: RunnerIdentity) -> Self {
        Self { client, identity }
    }
}

impl JobSource for GitLab {
    fn verify(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.client.verify(&self.identity).await.map(drop) }.boxed()
    }

    fn request_job(&self, last_update: Option<String>) -> BoxFuture<'_, Result<JobPoll, Error>> {
        async move {
            self.client
                .request_job(&self.identity, last_update.as_deref())
                .await
        }
        .boxed()
    }
}

/// GitLab as the receiver of reports about jobs.
#[derive(Debug, Clone)]
pub struct GitLabJobs {
    client: Client,
    runner: Runner,
}

impl GitLabJobs {
    /// The GitLab behind `client`. `runner` limits and formats the traces of its jobs.
    pub fn new(client: Client, runner: Runner) -> Self {
        Self { client, runner }
    }

    fn trace_options(&self, job: &JobPayload) -> TraceOptions {
        let variables = Variables::of(job);
        let timestamps = feature_flag("FF_TIMESTAMPS").is_some_and(|flag| {
            let (on, _) = flag.resolve(&self.runner, variables.get(flag.name));
            on
        });
        let debugs = |key| variables.flag(key);
        let usual = TraceOptions::default();
        TraceOptions {
            silence: SILENCE,
            limit: self.runner.log_limit().unwrap_or(usual.limit),
            token_prefixes: job.features.token_mask_prefixes.clone(),
            timestamps,
            debug: !self.runner.debug_trace_disabled
                && (debugs("CI_DEBUG_TRACE") || debugs("CI_DEBUG_SERVICES")),
            ..usual
        }
    }
}

impl Coordinator for GitLabJobs {
    fn keep_alive<'a>(&'a self, job: &'a JobPayload) -> BoxFuture<'a, Result<RemoteStatus, Error>> {
        async move {
            let update = JobUpdate::running();
            let answer = self.client.update_job(job.id, &job.token, &update).await?;
            Ok(match answer.outcome {
                UpdateOutcome::Refused => RemoteStatus::Canceled,
                _ => answer.remote,
            })
        }
        .boxed()
    }

    fn report<'a>(
        &'a self,
        job: &'a JobPayload,
        verdict: &'a Verdict,
        trace: Option<TraceMark>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let bare = update_of(verdict).understood_by(&job.features);
            let update = match trace.map(summary_of) {
                Some(summary) => bare.with_trace(summary),
                None => bare,
            };
            let reported = report_result(&self.client, job.id, &job.token, &update).await?;
            if reported == Reported::TraceIncomplete {
                // The rest of the trace is lost with its writer, so the result is reported without
                // it.
                report_result(&self.client, job.id, &job.token, &bare).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn open_trace<'a>(
        &'a self,
        job: &'a JobPayload,
        last_known: Option<TraceMark>,
    ) -> BoxFuture<'a, Result<Box<dyn Trace>, Error>> {
        async move {
            let start = TraceStart::End {
                last_known: last_known.map(position_of),
            };
            let (writer, session) = TraceSession::open(
                self.client.clone(),
                job.id,
                job.token.clone(),
                job.mask_values(),
                start,
                self.trace_options(job),
            )
            .await?;
            Ok(Box::new(GitLabTrace { writer, session }) as Box<dyn Trace>)
        }
        .boxed()
    }
}

struct GitLabTrace {
    writer: TraceWriter,
    session: TraceSession,
}

impl Trace for GitLabTrace {
    fn writer(&self) -> TraceWriter {
        self.writer.clone()
    }

    fn remote(&self) -> watch::Receiver<Remote> {
        self.session.remote()
    }

    fn hold(&self, held: bool) {
        self.session.hold(held);
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Option<TraceMark>> {
        async move {
            match self.session.close().await {
                Ok(end) => Some(TraceMark {
                    offset: end.offset,
                    crc32: end.crc32,
                }),
                Err(error) => {
                    tracing::warn!(%error, "the trace's end could not be sent");
                    None
                }
            }
        }
        .boxed()
    }
}

fn update_of(verdict: &Verdict) -> JobUpdate {
    match verdict.ending {
        Ending::Success => JobUpdate {
            exit_code: verdict.exit_code,
            ..JobUpdate::success()
        },
        Ending::Canceled => JobUpdate::canceled(),
        Ending::Failed => JobUpdate::failed(reason_of(verdict), verdict.exit_code),
    }
}

fn reason_of(verdict: &Verdict) -> FailureReason {
    let word = verdict.failure_reason.as_deref().unwrap_or_default();
    // A failure reason of a newer version counts as an unknown failure, not as an error.
    serde_json::from_value(word.into()).unwrap_or(FailureReason::UnknownFailure)
}

fn position_of(mark: TraceMark) -> TracePosition {
    TracePosition {
        offset: mark.offset,
        crc32: mark.crc32,
    }
}

fn summary_of(mark: TraceMark) -> TraceSummary {
    TraceSummary::from(position_of(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_told_in_gitlabs_words() {
        let update = update_of(&Verdict::failed("image_pull_failure", "no such image"));
        assert_eq!(update.failure_reason, Some(FailureReason::ImagePullFailure));
        let update = update_of(&Verdict::failed("a_reason_of_tomorrow", ""));
        assert_eq!(update.failure_reason, Some(FailureReason::UnknownFailure));
        assert_eq!(update_of(&Verdict::canceled()), JobUpdate::canceled());
        assert_eq!(update_of(&Verdict::success()).exit_code, Some(0));
    }
}
