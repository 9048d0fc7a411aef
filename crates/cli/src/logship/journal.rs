//! Reads journald's entries from `journalctl --output=json`.

use std::io;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// journald's position of this entry.
    pub(super) cursor: String,
    /// When it was written, in milliseconds since 1970.
    pub(super) milliseconds: i64,
    /// The text.
    pub(super) message: String,
}

impl Entry {
    /// Parses a line of JSON; `None` if it has no cursor or time, which every entry has.
    fn parse(line: &str) -> Option<Self> {
        let entry: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let microseconds: i64 = text("__REALTIME_TIMESTAMP")?.parse().ok()?;
        Some(Self {
            cursor: text("__CURSOR")?.to_owned(),
            milliseconds: microseconds / 1000,
            message: message(entry.get("MESSAGE")),
        })
    }
}

/// The text. It is sent as bytes if it is not UTF-8, and as null if it is too long.
fn message(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(bytes)) => {
            let bytes = bytes.iter().filter_map(Value::as_u64);
            let bytes: Vec<u8> = bytes.filter_map(|byte| u8::try_from(byte).ok()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => String::new(),
    }
}

/// Entries, one after the other.
#[derive(Debug)]
pub(super) struct Journal<R> {
    lines: tokio::io::Lines<R>,
    /// Killed when dropped.
    _reader: Option<Child>,
}

impl Journal<BufReader<ChildStdout>> {
    /// Follows the entries of these units after the cursor, or from the start of this boot.
    pub(super) fn follow(units: &[&str], cursor: Option<&str>) -> io::Result<Self> {
        let mut command = Command::new("journalctl");
        command.args(["--output=json", "--follow", "--no-tail", "--all"]);
        for unit in units {
            command.arg(format!("--unit={unit}"));
        }
        match cursor {
            Some(cursor) => command.arg(format!("--after-cursor={cursor}")),
            None => command.arg("--boot"),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut reader = command.kill_on_drop(true).spawn()?;
        let stdout = reader.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            lines: BufReader::new(stdout).lines(),
            _reader: Some(reader),
        })
    }
}

impl<R: AsyncBufRead + Unpin> Journal<R> {
    /// Entries from any source of such lines.
    #[cfg(test)]
    pub(super) fn of(lines: R) -> Self {
        Self {
            lines: lines.lines(),
            _reader: None,
        }
    }

    /// The next entry; `None` at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Option<Entry>> {
        while let Some(line) = self.lines.next_line().await? {
            if let Some(entry) = Entry::parse(&line) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_whatever_their_message_is() {
        for (message, expected) in [
            (r#""hello""#, "hello"),
            ("[104, 105, 255]", "hi\u{fffd}"),
            ("null", ""),
        ] {
            let line = format!(
                r#"{{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1700000000123456","MESSAGE":{message}}}"#
            );
            let entry = Entry::parse(&line).unwrap();
            assert_eq!(entry.message, expected);
            assert_eq!(entry.milliseconds, 1_700_000_000_123);
        }
        assert_eq!(Entry::parse("-- Logs begin --"), None);
    }

    #[tokio::test]
    async fn other_lines_are_skipped() {
        let lines =
            "no json\n{\"__CURSOR\":\"c\",\"__REALTIME_TIMESTAMP\":\"1000\",\"MESSAGE\":\"x\"}\n";
        let mut journal = Journal::of(lines.as_bytes());
        assert_eq!(journal.next().await.unwrap().unwrap().cursor, "c");
        assert_eq!(journal.next().await.unwrap(), None);
    }
}
