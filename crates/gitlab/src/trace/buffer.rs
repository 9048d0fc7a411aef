//! The part of a trace that one session writes.

use crc32fast::Hasher;

use super::TracePosition;
use crate::ansi::{BOLD_YELLOW, RESET};

/// All bytes since the session's start: GitLab may ask for any of them again.
pub(super) struct Buffer {
    begin: TracePosition,
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Buffer {
    /// Accepts at most `limit` bytes, plus a notice when the limit is reached.
    pub(super) fn new(begin: TracePosition, limit: usize) -> Self {
        Self {
            begin,
            bytes: Vec::new(),
            limit,
            full: false,
        }
    }

    /// Appends, up to the limit.
    pub(super) fn append(&mut self, text: &[u8]) {
        if self.full {
            return;
        }
        let room = self.limit - self.bytes.len();
        if text.len() <= room {
            self.bytes.extend_from_slice(text);
            return;
        }
        self.bytes
            .extend_from_slice(&text[..whole_characters(text, room)]);
        let notice = format!(
            "\n{BOLD_YELLOW}The log has reached its limit of {} bytes: the job goes on, its \
             further output is dropped.{RESET}\n",
            self.limit
        );
        self.bytes.extend_from_slice(notice.as_bytes());
        self.full = true;
    }

    /// Whether what precedes it is unknown, as after a writer that died.
    pub(super) fn begins_anywhere(&self) -> bool {
        self.begin.crc32.is_none()
    }

    /// Where the session began.
    pub(super) fn begin(&self) -> u64 {
        self.begin.offset
    }

    /// The offset of the next byte to append.
    pub(super) fn end(&self) -> u64 {
        self.begin.offset + self.bytes.len() as u64
    }

    /// At most `most` bytes from `offset` on. Empty for an offset out of range.
    pub(super) fn piece(&self, offset: u64, most: usize) -> &[u8] {
        let rest = self
            .index(offset)
            .and_then(|index| self.bytes.get(index..))
            .unwrap_or(&[]);
        &rest[..rest.len().min(most)]
    }

    /// The position at `offset`, with the checksum of everything before it if that of the start is
    /// known.
    pub(super) fn position(&self, offset: u64) -> TracePosition {
        let written = self.index(offset).and_then(|index| self.bytes.get(..index));
        let crc32 = self.begin.crc32.zip(written).map(|(crc, written)| {
            let mut hasher = Hasher::new_with_initial(crc);
            hasher.update(written);
            hasher.finalize()
        });
        TracePosition { offset, crc32 }
    }

    fn index(&self, offset: u64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.begin.offset)?).ok()
    }
}

/// How many of the first `room` bytes fit without cutting a UTF-8 character.
fn whole_characters(text: &[u8], room: usize) -> usize {
    // A character has at most three continuation bytes; other bytes are not UTF-8 anyway.
    let is_inside = |at: &usize| text[*at] & 0b1100_0000 == 0b1000_0000;
    (room.saturating_sub(3)..=room)
        .rev()
        .find(|at| !is_inside(at))
        .unwrap_or(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_found_by_their_offset_in_the_trace() {
        let mut buffer = Buffer::new(
            TracePosition {
                offset: 100,
                crc32: None,
            },
            1000,
        );
        buffer.append(b"hello ");
        buffer.append(b"world");
        assert_eq!(buffer.end(), 111);
        assert_eq!(buffer.piece(100, 5), b"hello");
        assert_eq!(buffer.piece(106, 100), b"world");
        assert_eq!(buffer.piece(111, 100), b"");
        assert_eq!(buffer.piece(99, 100), b"");
        assert_eq!(buffer.piece(200, 100), b"");
    }

    #[test]
    fn the_checksum_continues_after_another_session() {
        let mut first = Buffer::new(TracePosition::START, 1000);
        first.append(b"hello ");
        let mut second = Buffer::new(first.position(first.end()), 1000);
        second.append(b"world");
        let whole = second.position(second.end());
        assert_eq!(
            whole,
            TracePosition {
                offset: 11,
                crc32: Some(crc32fast::hash(b"hello world"))
            }
        );
        assert_eq!(second.position(8).crc32, Some(crc32fast::hash(b"hello wo")));
    }

    #[test]
    fn an_unknown_beginning_has_no_checksum() {
        let mut buffer = Buffer::new(
            TracePosition {
                offset: 3,
                crc32: None,
            },
            1000,
        );
        buffer.append(b"x");
        assert_eq!(
            buffer.position(4),
            TracePosition {
                offset: 4,
                crc32: None
            }
        );
    }

    #[test]
    fn the_limit_is_announced_once_and_cuts_no_character() {
        let mut buffer = Buffer::new(TracePosition::START, 6);
        buffer.append("abcdé".as_bytes());
        buffer.append("é".as_bytes());
        buffer.append(b"more");
        let text = std::str::from_utf8(buffer.piece(0, 1000)).unwrap();
        insta::assert_snapshot!(text.escape_debug(), @r"abcdé\n\u{1b}[33;1mThe log has reached its limit of 6 bytes: the job goes on, its further output is dropped.\u{1b}[0;m\n");

        let mut buffer = Buffer::new(TracePosition::START, 6);
        buffer.append("abcde€".as_bytes());
        assert!(buffer.piece(0, 1000).starts_with(b"abcde\n"));
    }

    #[test]
    fn exactly_the_limit_is_no_excess() {
        let mut buffer = Buffer::new(TracePosition::START, 4);
        buffer.append(b"abcd");
        buffer.append(b"");
        assert_eq!(buffer.piece(0, 1000), b"abcd");
    }
}
