//! The logs of managers and workers, from CloudWatch Logs.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use futures::Stream;
use futures::stream::{self, TryStreamExt as _};
use jiff::Timestamp;
use onspot_reconcile::ServiceResultExt as _;
use serde::Serialize;

use crate::names::Names;
use crate::{Clients, Error};

/// The pause between two looks for new lines.
const EVERY: Duration = Duration::from_secs(2);
/// How far back every look goes, because lines arrive late and out of order.
const LATE: Duration = Duration::from_secs(30);

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// When it was written, by the instance's clock.
    pub at: Timestamp,
    /// The stream, `<role>/<instance id>`.
    pub stream: String,
    /// The text.
    pub message: String,
}

/// Which lines to read.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Only instances of this role, `manager` or `worker`.
    pub role: Option<String>,
    /// Only this instance.
    pub instance: Option<String>,
    /// The oldest time; all lines if absent.
    pub since: Option<Timestamp>,
}

impl LogOptions {
    /// Whether a stream of this name is wanted.
    fn wants(&self, stream: &str) -> bool {
        let (role, instance) = stream.split_once('/').unwrap_or((stream, ""));
        self.role.as_deref().is_none_or(|wanted| wanted == role)
            && self
                .instance
                .as_deref()
                .is_none_or(|wanted| wanted == instance)
    }

    /// The beginning of the wanted streams' names, which CloudWatch can search for.
    fn prefix(&self) -> Option<String> {
        let role = self.role.as_ref()?;
        Some(format!(
            "{role}/{}",
            self.instance.as_deref().unwrap_or_default()
        ))
    }
}

/// The existing lines, oldest first. A stack that has not logged yet has none.
///
/// # Errors
///
/// [`Error::Name`] if `stack` is not allowed as a name; [`Error::Call`] if CloudWatch refuses a
/// call or cannot be reached.
pub async fn read_logs(
    stack: &str,
    clients: &Clients,
    options: &LogOptions,
) -> Result<Vec<LogLine>, Error> {
    let names = Names::new(stack, clients.region())?;
    let since = options.since.map(Timestamp::as_millisecond);
    let found = events(clients, &names.log_group(), options, since).await?;
    let mut lines: Vec<_> = found.into_iter().filter_map(line).collect();
    lines.sort_by_key(|line| line.at);
    Ok(lines)
}

/// The existing lines and then new ones as they arrive. The stream ends only with an error.
///
/// # Errors
///
/// [`Error::Name`] if `stack` is not allowed as a name.
pub fn follow(
    stack: &str,
    clients: &Clients,
    options: &LogOptions,
) -> Result<impl Stream<Item = Result<LogLine, Error>> + use<>, Error> {
    let names = Names::new(stack, clients.region())?;
    let tail = Tail {
        clients: clients.clone(),
        group: names.log_group(),
        options: options.clone(),
        since: options.since.map(Timestamp::as_millisecond),
        seen: HashSet::new(),
        first: true,
    };
    let batches = stream::try_unfold(tail, async |mut tail: Tail| {
        let lines = tail.next().await?;
        let lines = lines.into_iter().map(Ok::<_, Error>);
        Ok::<_, Error>(Some((stream::iter(lines), tail)))
    });
    Ok(batches.try_flatten())
}

/// The position of a reader that follows.
struct Tail {
    clients: Clients,
    group: String,
    options: LogOptions,
    /// Milliseconds since 1970; where the next look begins.
    since: Option<i64>,
    /// The ids of events that were already returned and may be seen again.
    seen: HashSet<String>,
    first: bool,
}

impl Tail {
    /// The lines that came since the last look; waits before every look but the first.
    async fn next(&mut self) -> Result<Vec<LogLine>, Error> {
        if !std::mem::take(&mut self.first) {
            tokio::time::sleep(EVERY).await;
        }
        let found = events(&self.clients, &self.group, &self.options, self.since).await?;
        let newest = found.iter().filter_map(|event| event.timestamp).max();
        let (mut lines, mut seen) = (Vec::new(), HashSet::new());
        for event in found {
            let id = event.event_id.clone().unwrap_or_default();
            if !self.seen.contains(&id) {
                lines.extend(line(event));
            }
            seen.insert(id);
        }
        if let Some(newest) = newest {
            let late = i64::try_from(LATE.as_millis()).unwrap_or(i64::MAX);
            self.since = self.since.max(Some(newest.saturating_sub(late)));
        }
        self.seen = seen;
        lines.sort_by_key(|line| line.at);
        Ok(lines)
    }
}

/// All wanted events since `since`.
async fn events(
    clients: &Clients,
    group: &str,
    options: &LogOptions,
    since: Option<i64>,
) -> Result<Vec<FilteredLogEvent>, Error> {
    let mut pages = clients
        .logs
        .filter_log_events()
        .log_group_name(group)
        .set_log_stream_name_prefix(options.prefix())
        .set_start_time(since)
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        match page.calling("FilterLogEvents") {
            Ok(page) => found.extend(page.events.unwrap_or_default()),
            Err(error) if error.is_not_found() => break,
            Err(error) => return Err(error.into()),
        }
    }
    found.retain(|event| options.wants(event.log_stream_name.as_deref().unwrap_or_default()));
    Ok(found)
}

fn line(event: FilteredLogEvent) -> Option<LogLine> {
    Some(LogLine {
        at: Timestamp::from_millisecond(event.timestamp?).ok()?,
        stream: event.log_stream_name.unwrap_or_default(),
        message: event.message.unwrap_or_default().trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_chosen_by_role_and_instance() {
        let all = LogOptions::default();
        assert!(all.wants("worker/i-1") && all.prefix().is_none());
        let workers = LogOptions {
            role: Some("worker".into()),
            ..LogOptions::default()
        };
        assert!(workers.wants("worker/i-1") && !workers.wants("manager/i-1"));
        assert_eq!(workers.prefix().as_deref(), Some("worker/"));
        let one = LogOptions {
            instance: Some("i-1".into()),
            ..LogOptions::default()
        };
        assert!(one.wants("worker/i-1") && one.wants("manager/i-1") && !one.wants("worker/i-2"));
    }
}
