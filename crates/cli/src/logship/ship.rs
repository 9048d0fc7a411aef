//! Sends batches until CloudWatch accepts them.

use std::time::Duration;

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use tokio::io::AsyncBufRead;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::cursor::CursorFile;
use super::journal::{Entry, Journal};

/// How long a batch waits for more lines after its first.
const GATHER: Duration = Duration::from_secs(1);
/// How long shipping the last lines may take once the process ends.
const LAST_LINES: Duration = Duration::from_secs(5);
/// The longest pause after a failure.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// A log stream in CloudWatch.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// The client.
    pub(crate) client: Client,
    /// The log group, which exists.
    pub(crate) group: String,
    /// The stream, created if missing: `<role>/<instance id>`.
    pub(crate) stream: String,
    /// The pause after the first failure; it doubles up to a minute. Usually a second.
    pub(crate) first_wait: Duration,
}

/// The outcome of sending a batch.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// CloudWatch accepted it.
    Taken,
    /// CloudWatch will never accept it.
    Refused,
    /// Try again.
    Later,
}

/// Ships entries until `end` or the end of the journal; then the entries that are there already.
pub(super) async fn ship<R: AsyncBufRead + Unpin>(
    mut journal: Journal<R>,
    destination: &Destination,
    cursor: &CursorFile,
    end: CancellationToken,
) {
    let mut left_over = None;
    while !end.is_cancelled() {
        let (batch, more) = gather(&mut journal, &mut left_over, &end).await;
        let deliver = deliver(&batch, destination, cursor);
        tokio::select! {
            () = deliver => {}
            () = grace(&end) => return,
        }
        if !more {
            return;
        }
    }
    let last = async {
        let (batch, _) = gather(&mut journal, &mut left_over, &CancellationToken::new()).await;
        deliver(&batch, destination, cursor).await;
    };
    // Lines that are not shipped in time stay in the journal.
    let _ = timeout(LAST_LINES, last).await;
}

/// Some seconds after `end`.
async fn grace(end: &CancellationToken) {
    end.cancelled().await;
    sleep(LAST_LINES).await;
}

/// A batch of the entries that arrive within [`GATHER`] of the first one. Also returns whether more
/// may follow.
async fn gather<R: AsyncBufRead + Unpin>(
    journal: &mut Journal<R>,
    left_over: &mut Option<Entry>,
    end: &CancellationToken,
) -> (Batch, bool) {
    let mut batch = Batch::default();
    let mut full_at = None;
    if let Some(entry) = left_over.take() {
        // An empty batch has room for any entry.
        let _ = batch.add(entry);
        full_at = Some(Instant::now() + GATHER);
    }
    loop {
        let full = async {
            match full_at {
                Some(instant) => sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        let next = tokio::select! {
            next = journal.next() => next,
            () = full => return (batch, true),
            () = end.cancelled() => return (batch, true),
        };
        let Ok(Some(entry)) = next else {
            return (batch, false);
        };
        if let Err(entry) = batch.add(entry) {
            *left_over = Some(entry);
            return (batch, true);
        }
        full_at.get_or_insert(Instant::now() + GATHER);
    }
}

/// Sends a batch until it is accepted or refused for good, then stores its cursor.
async fn deliver(batch: &Batch, destination: &Destination, cursor: &CursorFile) {
    if batch.is_empty() {
        return;
    }
    let mut wait = destination.first_wait;
    loop {
        match destination.put(batch).await {
            Sent::Taken | Sent::Refused => break,
            Sent::Later => sleep(wait).await,
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    if let Some(text) = batch.cursor()
        && let Err(error) = cursor.write(text)
    {
        tracing::warn!(%error, "the journal's cursor can't be stored; lines may be shipped twice");
    }
}

impl Destination {
    /// Sends it once.
    async fn put(&self, batch: &Batch) -> Sent {
        let events = batch.events();
        if events.is_empty() {
            return Sent::Taken;
        }
        let events: Result<Vec<_>, _> = events
            .into_iter()
            .map(|(time, text)| {
                InputLogEvent::builder()
                    .timestamp(time)
                    .message(text)
                    .build()
            })
            .collect();
        let Ok(events) = events else {
            return Sent::Refused;
        };
        let put = self.client.put_log_events();
        let put = put
            .log_group_name(&self.group)
            .log_stream_name(&self.stream);
        match put.set_log_events(Some(events)).send().await {
            Ok(_) => Sent::Taken,
            Err(error) => match error.code() {
                Some("ResourceNotFoundException") => self.make_stream().await,
                Some("DataAlreadyAcceptedException") => Sent::Taken,
                Some("InvalidParameterException") => {
                    tracing::warn!(error = said(&error), "CloudWatch refuses a batch of logs");
                    Sent::Refused
                }
                _ => {
                    tracing::warn!(error = said(&error), "logs can't be shipped, trying again");
                    Sent::Later
                }
            },
        }
    }

    /// Creates the stream; the batch is then tried again.
    async fn make_stream(&self) -> Sent {
        let make = self.client.create_log_stream();
        let made = make
            .log_group_name(&self.group)
            .log_stream_name(&self.stream)
            .send()
            .await;
        match made {
            Err(error) if error.code() != Some("ResourceAlreadyExistsException") => {
                tracing::warn!(
                    error = said(&error),
                    "the log stream can't be made, trying again"
                );
            }
            _ => {}
        }
        Sent::Later
    }
}

/// The service's message, or the innermost cause if there was no answer.
fn said<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    if let Some(message) = error.message() {
        return message.to_owned();
    }
    let mut last: &dyn std::error::Error = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[cfg(test)]
mod tests;
