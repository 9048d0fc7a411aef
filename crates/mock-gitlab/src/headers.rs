//! The headers of a trace's lines, which GitLab Runner writes since version 19
//! (`FF_TIMESTAMPS`): `2026-01-31T12:00:00.123456Z 01O text`.

use std::borrow::Cow;

/// The length of a header.
const LENGTH: usize = "2026-01-31T12:00:00.123456Z 01O ".len();

/// The trace's text without headers. Lines that continue the one before are joined to it.
pub fn without_headers(trace: &str) -> Cow<'_, str> {
    if !trace.split('\n').any(|line| header(line).is_some()) {
        return Cow::Borrowed(trace);
    }
    let mut text = String::with_capacity(trace.len());
    for line in trace.split_inclusive('\n') {
        match header(line) {
            Some(goes_on) => {
                if goes_on && text.ends_with('\n') {
                    text.pop();
                }
                text.push_str(&line[LENGTH..]);
            }
            None => text.push_str(line),
        }
    }
    Cow::Owned(text)
}

/// Whether a line continues the one before; `None` if it has no header.
fn header(line: &str) -> Option<bool> {
    let header = line.as_bytes().get(..LENGTH)?;
    let pattern = b"0000-00-00T00:00:00.000000Z ##O+";
    let fits = header.iter().zip(pattern).all(|(byte, kind)| match kind {
        b'0' => byte.is_ascii_digit(),
        b'#' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        b'O' => matches!(byte, b'O' | b'E'),
        b'+' => matches!(byte, b' ' | b'+'),
        literal => byte == literal,
    });
    fits.then(|| header[LENGTH - 1] == b'+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_removed_and_parts_of_lines_joined() {
        let trace = "2024-07-01T12:00:00.000000Z 00O one \n\
                     2024-07-01T12:00:00.000001Z 00O+line\n\
                     2024-07-01T12:00:00.000002Z 0fE 10 %\r\n\
                     2024-07-01T12:00:00.000002Z 0fE+20 %\r\n\
                     no header\n\
                     2024-07-01T12:00:00.000003Z 0xO no header either\n\
                     2024-07-01T12:00:00.000003Z 01O half";
        assert_eq!(
            without_headers(trace),
            "one line\n10 %\r20 %\r\nno header\n\
             2024-07-01T12:00:00.000003Z 0xO no header either\nhalf"
        );
        assert!(matches!(without_headers("plain\n"), Cow::Borrowed(_)));
    }
}
