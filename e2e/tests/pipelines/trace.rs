//! A trace for comparison: without colours and section marks. The mock GitLab has already taken the
//! line headers away.

use std::sync::LazyLock;

use regex::Regex;

/// Colours and other escape sequences, and the marks of sections.
static MARKS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"section_(?:start|end):\d+:[^\r\n]*\r|\x1b\[[0-9;?]*[A-Za-z]").expect("a pattern")
});

/// The trace's text.
pub(crate) fn plain(trace: &str) -> String {
    let lines = trace.lines();
    lines
        .flat_map(|line| [MARKS.replace_all(line, ""), "\n".into()])
        .collect()
}

#[test]
fn a_plain_trace_is_the_printed_text() {
    let trace = "\x1b[0KRunning\x1b[0;m\r\n\
                 section_start:1700000000:step_script[collapsed=true]\r\x1b[0K\x1b[36;1mScript\x1b[0;m\n\
                 \x1b[31mred\x1b[0m\n\
                 section_end:1700000001:step_script\r\x1b[0Klast";
    assert_eq!(plain(trace), "Running\nScript\nred\nlast\n");
}
