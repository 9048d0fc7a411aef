//! The answers of the protocol as data.
//!
//! Each function interprets status, headers and body. The meaning of each status is from
//! `network/gitlab.go` of GitLab Runner 19.4 and `lib/api/ci/runner.rb` of GitLab.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

use crate::Error;
use crate::error::TokenKind;
use crate::job::AssignedJob;
use crate::registration::{Created, Verified};
use crate::token::JobId;

/// The longest interval between two pieces of a trace, even if GitLab sets a longer one.
const MAX_UPDATE_INTERVAL: Duration = Duration::from_mins(15);

/// How many characters of an unexpected answer go into an error.
const MESSAGE_LENGTH: usize = 200;

/// A job's status in the header `Job-Status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemoteStatus {
    /// Running, or any other status that requires no action.
    #[default]
    Running,
    /// A user canceled it: the script must stop, `after_script` still runs.
    Canceling,
    /// A user canceled it, and it is over.
    Canceled,
    /// GitLab ended it as failed: it is over.
    Failed,
}

/// The outcome of a request for a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobRequestOutcome {
    /// A job, which this runner owns from now on.
    Job(Box<AssignedJob>),
    /// No job is waiting.
    NoJob,
    /// Another runner was faster: ask again.
    Conflict,
    /// GitLab does not know this runner, or no longer does.
    Forbidden,
}

/// The answer to a request for a job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPoll {
    /// The outcome.
    pub outcome: JobRequestOutcome,
    /// To be sent with the next request for a job.
    pub last_update: Option<String>,
}

/// The outcome of reporting a job's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// GitLab has it.
    Accepted,
    /// GitLab is still storing the trace: report again later.
    Pending,
    /// GitLab's trace differs from the reported one: send it again from its start.
    TraceIncomplete,
    /// The job is over, or never existed: report no more.
    Refused,
}

/// The answer to a job's update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateAnswer {
    /// The outcome.
    pub outcome: UpdateOutcome,
    /// The job's status in GitLab.
    pub remote: RemoteStatus,
    /// How long to wait before the next message.
    pub interval: Option<Duration>,
}

/// The outcome of appending to a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchOutcome {
    /// Appended.
    Accepted,
    /// Not appended, because the trace has this length.
    Offset(u64),
    /// The job is over, or never existed.
    Refused,
}

/// The answer to a piece of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchAnswer {
    /// The outcome.
    pub outcome: PatchOutcome,
    /// The trace's length now, if GitLab sends it.
    pub length: Option<u64>,
    /// The job's status in GitLab.
    pub remote: RemoteStatus,
    /// How long to wait before the next piece.
    pub interval: Option<Duration>,
}

/// Reads the answer to [`Api::verify`](crate::request::Api::verify).
///
/// # Errors
/// [`Error::Refused`] if the token is not valid, [`Error::Status`] for unexpected answers.
pub fn verified(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Verified, Error> {
    const WHAT: &str = "verify the runner";
    match status {
        // An old GitLab answers in plain text.
        StatusCode::OK => Ok(serde_json::from_slice(body).unwrap_or_default()),
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(Error::Refused {
            what: WHAT,
            token: TokenKind::Runner,
            message: message(status, body),
        }),
        _ => Err(unforeseen(WHAT, status, headers, body)),
    }
}

/// Reads the answer to [`Api::create_runner`](crate::request::Api::create_runner).
///
/// # Errors
/// [`Error::Refused`] if the access token lacks the right, [`Error::Status`] for unexpected
/// answers, such as parameters that GitLab does not accept (400).
pub fn created(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<Created, Error> {
    const WHAT: &str = "create a runner";
    match status {
        StatusCode::CREATED => {
            serde_json::from_slice(body).map_err(|source| Error::Answer { what: WHAT, source })
        }
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(Error::Refused {
            what: WHAT,
            token: TokenKind::Access,
            message: message(status, body),
        }),
        _ => Err(unforeseen(WHAT, status, headers, body)),
    }
}

/// Reads the answer to [`Api::unregister`](crate::request::Api::unregister).
///
/// # Errors
/// [`Error::Status`] for unexpected answers. It is no error if GitLab does not know the runner.
pub fn unregistered(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<(), Error> {
    match status {
        StatusCode::NO_CONTENT | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(()),
        _ => Err(unforeseen("remove the runner", status, headers, body)),
    }
}

/// Reads the answer to [`Api::request_job`](crate::request::Api::request_job).
///
/// # Errors
/// [`Error::Payload`] for a job that cannot be read, [`Error::Status`] for unexpected answers.
pub fn job(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<JobPoll, Error> {
    const WHAT: &str = "hand out a job";
    let outcome = match status {
        StatusCode::CREATED => {
            let raw = serde_json::from_slice(body)
                .map_err(|source| Error::Payload { job: None, source })?;
            JobRequestOutcome::Job(Box::new(AssignedJob::parse(raw)?))
        }
        StatusCode::NO_CONTENT => JobRequestOutcome::NoJob,
        StatusCode::CONFLICT => JobRequestOutcome::Conflict,
        StatusCode::FORBIDDEN => JobRequestOutcome::Forbidden,
        _ => return Err(unforeseen(WHAT, status, headers, body)),
    };
    Ok(JobPoll {
        outcome,
        last_update: text(headers, "x-gitlab-last-update").map(str::to_owned),
    })
}

/// Reads the answer to [`Api::update_job`](crate::request::Api::update_job).
///
/// # Errors
/// [`Error::Status`] for unexpected answers.
pub fn update(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<UpdateAnswer, Error> {
    let remote = remote_status(headers);
    let outcome = match status {
        StatusCode::OK => UpdateOutcome::Accepted,
        StatusCode::ACCEPTED => UpdateOutcome::Pending,
        StatusCode::PRECONDITION_FAILED => UpdateOutcome::TraceIncomplete,
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => UpdateOutcome::Refused,
        _ => return Err(unforeseen("take the job's state", status, headers, body)),
    };
    Ok(UpdateAnswer {
        outcome,
        remote,
        interval: update_interval(headers),
    })
}

/// Reads the answer to [`Api::patch_trace`](crate::request::Api::patch_trace).
///
/// # Errors
/// [`Error::Status`] for unexpected answers.
pub fn patch(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<PatchAnswer, Error> {
    const WHAT: &str = "take a piece of the trace";
    let length = trace_length(headers);
    let outcome = match status {
        StatusCode::ACCEPTED => PatchOutcome::Accepted,
        StatusCode::RANGE_NOT_SATISFIABLE => match length {
            Some(length) => PatchOutcome::Offset(length),
            None => return Err(unforeseen(WHAT, status, headers, body)),
        },
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => PatchOutcome::Refused,
        _ => return Err(unforeseen(WHAT, status, headers, body)),
    };
    Ok(PatchAnswer {
        outcome,
        length,
        remote: remote_status(headers),
        interval: update_interval(headers),
    })
}

/// Reads the answer to [`Api::upload_artifact`](crate::request::Api::upload_artifact).
///
/// # Errors
/// [`Error::ArtifactTooLarge`], [`Error::Refused`] if the job is over, [`Error::Status`] for
/// unexpected answers.
pub fn uploaded(
    name: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Error> {
    const WHAT: &str = "take an artifact";
    match status {
        StatusCode::CREATED => Ok(()),
        StatusCode::PAYLOAD_TOO_LARGE => Err(Error::ArtifactTooLarge {
            name: name.to_owned(),
        }),
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(Error::Refused {
            what: WHAT,
            token: TokenKind::Job,
            message: message(status, body),
        }),
        _ => Err(unforeseen(WHAT, status, headers, body)),
    }
}

/// The error for a download that did not start.
pub(crate) fn not_downloaded(
    job: JobId,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Error {
    const WHAT: &str = "give an artifact";
    match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Error::Refused {
            what: WHAT,
            token: TokenKind::Job,
            message: format!("job {job}: {}", message(status, body)),
        },
        _ => unforeseen(WHAT, status, headers, body),
    }
}

/// How long GitLab asks to wait: `RateLimit-ResetTime`, else `Retry-After` in seconds.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let reset = text(headers, "ratelimit-resettime")
        .and_then(|time| DateTimeParser::new().parse_timestamp(time).ok())
        .map(|reset| reset.duration_since(now))
        .filter(SignedDuration::is_positive)
        .map(SignedDuration::unsigned_abs);
    let wait = || {
        number(headers, "retry-after")
            .filter(|s| *s > 0)
            .map(Duration::from_secs)
    };
    reset.or_else(wait)
}

fn unforeseen(what: &'static str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    Error::Status {
        what,
        status,
        message: message(status, body),
        retry_after: retry_after(headers, Timestamp::now()),
    }
}

fn remote_status(headers: &HeaderMap) -> RemoteStatus {
    match text(headers, "job-status") {
        Some("canceling") => RemoteStatus::Canceling,
        Some("canceled") => RemoteStatus::Canceled,
        Some("failed") => RemoteStatus::Failed,
        _ => RemoteStatus::Running,
    }
}

fn update_interval(headers: &HeaderMap) -> Option<Duration> {
    number(headers, "x-gitlab-trace-update-interval")
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Duration::from_secs(seconds).min(MAX_UPDATE_INTERVAL))
}

/// The length in `Range: 0-<length>`: not the last byte's index, unlike in HTTP.
fn trace_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, "range")?
        .rsplit_once('-')?
        .1
        .trim()
        .parse()
        .ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)?
        .to_str()
        .ok()
        .filter(|value| !value.is_empty())
}

/// GitLab's message, short enough for one line.
fn message(status: StatusCode, body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let said = json
        .as_ref()
        .and_then(|json| json.get("message").or_else(|| json.get("error")));
    let words = match said {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        // An HTML page, as from a proxy, is not a message.
        None if body.starts_with(b"<") => String::new(),
        None => String::from_utf8_lossy(body).into_owned(),
    };
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        return status.canonical_reason().unwrap_or("no message").to_owned();
    }
    words.chars().take(MESSAGE_LENGTH).collect()
}
