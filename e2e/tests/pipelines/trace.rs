//! A trace for comparison: without colours, section marks and line headers.

use std::sync::LazyLock;

use regex::Regex;

/// Colours and other escape sequences, and the marks of sections.
static MARKS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"section_(?:start|end):\d+:[^\r\n]*\r|\x1b\[[0-9;?]*[A-Za-z]").expect("a pattern")
});
/// Time and stream of a line; `+` means that it continues the previous line.
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z [0-9a-f]{2}[OE]([ +])")
        .expect("a pattern")
});

/// The trace's text.
pub(crate) fn plain(trace: &str) -> String {
    let mut text = String::new();
    for line in trace.split_terminator('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (goes_on, line) = match HEADER.captures(line) {
            Some(found) => (&found[1] == "+", &line[found[0].len()..]),
            None => (false, line),
        };
        if goes_on && text.ends_with('\n') {
            text.pop();
        }
        text.push_str(&MARKS.replace_all(line, ""));
        text.push('\n');
    }
    text
}

#[test]
fn a_plain_trace_is_the_printed_text() {
    let trace = "\x1b[0KRunning\x1b[0;m\r\n\
                 section_start:1700000000:step_script[collapsed=true]\r\x1b[0K\x1b[36;1mScript\x1b[0;m\n\
                 2024-07-01T12:00:00.000000Z 00O one \n\
                 2024-07-01T12:00:00.000001Z 00O+line\n\
                 2024-07-01T12:00:00.000002Z 01E \x1b[31mred\x1b[0m\n\
                 section_end:1700000001:step_script\r\x1b[0Klast";
    assert_eq!(plain(trace), "Running\nScript\none line\nred\nlast\n");
}
