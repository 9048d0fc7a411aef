//! Batches within the limits of `PutLogEvents`.
//!
//! CloudWatch Logs accepts at most 10,000 events and 1,048,576 bytes per call, counting each
//! event's UTF-8 bytes plus 26. The events must be in order and span at most 24 hours; one event
//! has at most 256 KiB.

use super::journal::Entry;

/// Maximum bytes of a batch.
const MAX_BYTES: usize = 1_048_576;
/// Bytes counted for an event besides its text.
const OVERHEAD: usize = 26;
/// Maximum events of a batch.
const MAX_EVENTS: usize = 10_000;
/// Maximum time between a batch's first and last event, in milliseconds.
const MAX_SPAN: i64 = 24 * 3600 * 1000;
/// Maximum bytes of an event.
const MAX_EVENT: usize = 256 * 1024 - OVERHEAD;

/// Entries that fit into one call.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: Vec<Entry>,
    bytes: usize,
    span: Option<(i64, i64)>,
}

impl Batch {
    /// Adds an entry, or returns it if the batch is full. An entry without text counts as added:
    /// CloudWatch accepts no empty events, but the cursor has to pass it.
    pub(super) fn add(&mut self, mut entry: Entry) -> Result<(), Entry> {
        shorten(&mut entry.message);
        let bytes = self.bytes + entry.message.len() + OVERHEAD;
        let time = entry.milliseconds;
        let (first, last) = self
            .span
            .map_or((time, time), |(a, b)| (a.min(time), b.max(time)));
        if bytes > MAX_BYTES || self.entries.len() == MAX_EVENTS || last - first > MAX_SPAN {
            return Err(entry);
        }
        self.bytes = bytes;
        self.span = Some((first, last));
        self.entries.push(entry);
        Ok(())
    }

    /// Whether it has no events.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The cursor of its last entry.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.entries.last().map(|entry| entry.cursor.as_str())
    }

    /// Time in milliseconds and text of each event, sorted by time: CloudWatch would refuse the
    /// whole batch if a clock was set back in between.
    pub(super) fn events(&self) -> Vec<(i64, &str)> {
        let filled = self
            .entries
            .iter()
            .filter(|entry| !entry.message.trim().is_empty());
        let mut events: Vec<_> = filled
            .map(|entry| (entry.milliseconds, entry.message.as_str()))
            .collect();
        events.sort_by_key(|(milliseconds, _)| *milliseconds);
        events
    }
}

/// Cuts a text that is too long for one event.
fn shorten(message: &mut String) {
    const MARK: &str = "…";
    if message.len() > MAX_EVENT {
        let mut end = MAX_EVENT - MARK.len();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push_str(MARK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(milliseconds: i64, message: impl Into<String>) -> Entry {
        Entry {
            cursor: format!("c{milliseconds}"),
            milliseconds,
            message: message.into(),
        }
    }

    #[test]
    fn a_batch_is_limited_in_bytes() {
        let mut batch = Batch::default();
        let line = "x".repeat(MAX_EVENT);
        let taken = (0..20_000)
            .take_while(|time| batch.add(entry(*time, line.clone())).is_ok())
            .count();
        assert_eq!(taken, 4);
        assert!(batch.add(entry(4, "short")).is_err());
    }

    #[test]
    fn a_batch_is_limited_in_events() {
        let mut batch = Batch::default();
        let taken = (0..20_000)
            .take_while(|time| batch.add(entry(*time, "x")).is_ok())
            .count();
        assert_eq!(taken, MAX_EVENTS);
    }

    #[test]
    fn a_batch_spans_no_more_than_a_day() {
        let mut batch = Batch::default();
        batch.add(entry(MAX_SPAN, "a")).unwrap();
        batch.add(entry(0, "b")).unwrap();
        assert!(batch.add(entry(MAX_SPAN + 1, "c")).is_err());
    }

    #[test]
    fn events_are_in_order_and_the_cursor_is_the_last_read() {
        let mut batch = Batch::default();
        for (time, message) in [(5, "b"), (3, "a"), (9, " ")] {
            batch.add(entry(time, message)).unwrap();
        }
        assert_eq!(batch.events(), [(3, "a"), (5, "b")]);
        assert_eq!(batch.cursor(), Some("c9"));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut message = "é".repeat(MAX_EVENT);
        shorten(&mut message);
        assert!(message.len() <= MAX_EVENT && message.ends_with('…'));
    }
}
