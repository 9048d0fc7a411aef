//! Reports a job's result to GitLab, with retries.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::Client;
use crate::response::UpdateOutcome;
use crate::token::{JobId, JobToken};
use crate::update::JobUpdate;
use crate::{Error, RemoteStatus};
use onspot_patience::Backoff;

/// The outcome of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// GitLab has the result.
    Told,
    /// The job was over already: canceled, dropped, or reported by somebody else.
    AlreadyOver,
    /// GitLab's trace differs from the reported one: send the trace again, then report again, or
    /// report without a [`TraceSummary`](crate::TraceSummary).
    TraceIncomplete,
}

/// How often and how long a report is retried.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// How many tries while GitLab cannot be reached or fails.
    pub attempts: u32,
    /// The first pause between tries; it doubles, up to an hour.
    pub first_wait: Duration,
    /// The pause between requests while GitLab stores the trace, if it does not set one.
    pub poll: Duration,
    /// How long GitLab may take to store the trace. GitLab's own limit is five minutes.
    pub patience: Duration,
}

impl Default for ReportOptions {
    /// As GitLab Runner: ten tries, the first pause is a second.
    fn default() -> Self {
        Self {
            attempts: 10,
            first_wait: Duration::from_secs(1),
            poll: Duration::from_secs(3),
            patience: Duration::from_mins(10),
        }
    }
}

/// Reports a job's result until GitLab has it, the job turns out to be over, or ten tries have
/// failed.
///
/// # Errors
/// The last try's error; [`Error::Unconfirmed`] if GitLab took the result but is still storing the
/// trace.
pub async fn report_result(
    client: &Client,
    job: JobId,
    token: &JobToken,
    update: &JobUpdate,
) -> Result<Reported, Error> {
    report_result_with(client, job, token, update, &ReportOptions::default()).await
}

/// Like [`report_result`], with the given options.
///
/// # Errors
/// See [`report_result`].
pub async fn report_result_with(
    client: &Client,
    job: JobId,
    token: &JobToken,
    update: &JobUpdate,
    options: &ReportOptions,
) -> Result<Reported, Error> {
    let mut backoff = Backoff::new(options.first_wait, Duration::from_hours(1));
    let mut failures = 0;
    let mut pending_until = None;
    loop {
        let wait = match client.update_job(job, token, update).await {
            Ok(answer) => match answer.outcome {
                UpdateOutcome::Accepted => return Ok(Reported::Told),
                UpdateOutcome::Refused => return Ok(Reported::AlreadyOver),
                UpdateOutcome::TraceIncomplete => return Ok(Reported::TraceIncomplete),
                UpdateOutcome::Pending => {
                    if matches!(answer.remote, RemoteStatus::Canceled | RemoteStatus::Failed) {
                        return Ok(Reported::AlreadyOver);
                    }
                    let now = Instant::now();
                    if now >= *pending_until.get_or_insert(now + options.patience) {
                        return Err(Error::Unconfirmed { job });
                    }
                    answer.interval.unwrap_or(options.poll)
                }
            },
            Err(error) => {
                failures += 1;
                if failures >= options.attempts || !error.is_transient() {
                    return Err(error);
                }
                let wait = backoff.pause_as(error.retry_after());
                tracing::warn!(%job, %error, ?wait, "the result could not be reported yet");
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}
