//! The header of each line: time, stream, and whether the line goes on from the one before.
//!
//! `2026-01-31T12:00:00.123456Z 01O text`: the format of GitLab Runner 19
//! (`common/buildlogger/internal/timestamper`), which GitLab shows as times beside the lines.

use jiff::Timestamp;

/// A line is sent in parts once it is longer than this many bytes.
const LONGEST: usize = 8 * 1024;

/// Where a line of a trace comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    number: u8,
    kind: char,
}

impl Stream {
    /// What the runner itself says.
    pub const RUNNER: Self = Self::output(0);
    /// The standard output of a job's scripts.
    pub const OUTPUT: Self = Self::output(1);
    /// The standard error of a job's scripts.
    pub const ERRORS: Self = Self {
        number: 1,
        kind: 'E',
    };

    /// The output of a job's service, counted from 0.
    pub const fn service(index: u8) -> Self {
        Self::output(index.saturating_add(15))
    }

    const fn output(number: u8) -> Self {
        Self { number, kind: 'O' }
    }
}

/// Writes the headers of one stream.
#[derive(Debug)]
pub(super) struct Stamper {
    stream: Stream,
    /// The beginning of a line, with its header.
    begun: Vec<u8>,
    /// Whether the next line continues the one before.
    goes_on: bool,
}

impl Stamper {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            begun: Vec::new(),
            goes_on: false,
        }
    }

    /// Takes text and returns the lines that can be shown by now.
    pub(super) fn push(&mut self, text: &[u8], now: Timestamp) -> Vec<u8> {
        let mut shown = Vec::with_capacity(text.len() + 32);
        let mut rest = text;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.begin(now);
            shown.append(&mut self.begun);
            shown.extend_from_slice(&rest[..=end]);
            rest = &rest[end + 1..];
        }
        if rest.is_empty() {
            return shown;
        }
        self.begin(now);
        self.begun.extend_from_slice(rest);
        // Progress is shown at once; what overwrites it comes as the same line's next part.
        if rest.contains(&b'\r') || self.begun.len() > LONGEST {
            shown.extend(self.finish());
            self.goes_on = true;
        }
        shown
    }

    /// Returns the line begun so far, with an end.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.begun);
        if !line.is_empty() {
            line.push(b'\n');
        }
        line
    }

    fn begin(&mut self, now: Timestamp) {
        if !self.begun.is_empty() {
            return;
        }
        let Stream { number, kind } = self.stream;
        let time = now.strftime("%Y-%m-%dT%H:%M:%S%.6f");
        let mark = if std::mem::take(&mut self.goes_on) {
            '+'
        } else {
            ' '
        };
        let header = format!("{time}Z {number:02x}{kind}{mark}");
        self.begun.extend_from_slice(header.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the pieces become, each an hour after the one before.
    fn stamped(stream: Stream, pieces: &[&str]) -> String {
        let mut stamper = Stamper::new(stream);
        let mut now: Timestamp = "2021-01-01T00:00:00.02001Z".parse().unwrap();
        let mut shown = Vec::new();
        for piece in pieces {
            now += jiff::SignedDuration::from_hours(1);
            shown.extend(stamper.push(piece.as_bytes(), now));
        }
        shown.extend(stamper.finish());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn each_line_has_a_header() {
        let pieces = ["one\ntwo\n", "a split ", "up ", "line\n\n", "the end"];
        assert_eq!(
            stamped(Stream::ERRORS, &pieces),
            "2021-01-01T01:00:00.020010Z 01E one\n\
             2021-01-01T01:00:00.020010Z 01E two\n\
             2021-01-01T02:00:00.020010Z 01E a split up line\n\
             2021-01-01T04:00:00.020010Z 01E \n\
             2021-01-01T05:00:00.020010Z 01E the end\n"
        );
    }

    #[test]
    fn progress_is_shown_at_once_and_goes_on_in_the_same_line() {
        let pieces = ["Progress: ", ".\r", ".\r", "Done.\r\n", "next\r\n"];
        assert_eq!(
            stamped(Stream::OUTPUT, &pieces),
            "2021-01-01T01:00:00.020010Z 01O Progress: .\r\n\
             2021-01-01T03:00:00.020010Z 01O+.\r\n\
             2021-01-01T04:00:00.020010Z 01O+Done.\r\n\
             2021-01-01T05:00:00.020010Z 01O next\r\n"
        );
    }

    #[test]
    fn the_mark_of_a_section_is_not_split() {
        let pieces = [
            "section_end:1:a\r\x1b[0K",
            "section_start:2:b\r\x1b[0KTitle\n",
        ];
        assert_eq!(
            stamped(Stream::RUNNER, &pieces),
            "2021-01-01T01:00:00.020010Z 00O section_end:1:a\r\x1b[0K\n\
             2021-01-01T02:00:00.020010Z 00O+section_start:2:b\r\x1b[0KTitle\n"
        );
    }

    #[test]
    fn a_long_line_is_sent_in_parts() {
        let long = "x".repeat(LONGEST);
        assert_eq!(
            stamped(Stream::service(1), &[&long, "y\n"]),
            format!(
                "2021-01-01T01:00:00.020010Z 10O {long}\n\
                 2021-01-01T02:00:00.020010Z 10O+y\n"
            )
        );
    }
}
