//! ANSI colours and section markers in traces.

/// Back to plain text.
pub const RESET: &str = "\x1b[0;m";
/// Information from onspot itself.
pub const CYAN: &str = "\x1b[0;36m";
/// Errors.
pub const BOLD_RED: &str = "\x1b[31;1m";
/// Commands of a script, as they are echoed.
pub const BOLD_GREEN: &str = "\x1b[32;1m";
/// Warnings.
pub const BOLD_YELLOW: &str = "\x1b[33;1m";
/// Clears the line: hides a section's marker in a terminal.
const CLEAR_LINE: &str = "\r\x1b[0K";

/// A line of information from onspot, without its line end.
pub fn info(text: &str) -> String {
    format!("{CYAN}{text}{RESET}")
}

/// A warning line, without its line end.
pub fn warning(text: &str) -> String {
    format!("{BOLD_YELLOW}WARNING: {text}{RESET}")
}

/// A line about an error, without its line end.
pub fn error(text: &str) -> String {
    format!("{BOLD_RED}ERROR: {text}{RESET}")
}

/// The marker that begins a section; the section's title follows it on the same line.
///
/// `unix` is the time in seconds since 1970; `name` is the section's name within the trace, in
/// which characters that GitLab does not accept (all but ASCII letters, digits, `_`, `.`, `-`)
/// become `_`.
///
/// ```
/// # use onspot_gitlab::ansi;
/// assert_eq!(
///     ansi::section_start(1_500_000_000, "get_sources", true),
///     "section_start:1500000000:get_sources[collapsed=true]\r\x1b[0K",
/// );
/// ```
pub fn section_start(unix: i64, name: &str, collapsed: bool) -> String {
    let options = if collapsed { "[collapsed=true]" } else { "" };
    format!(
        "section_start:{unix}:{}{options}{CLEAR_LINE}",
        section_name(name)
    )
}

/// The marker that ends a section.
///
/// ```
/// # use onspot_gitlab::ansi;
/// assert_eq!(
///     ansi::section_end(1_500_000_007, "get_sources"),
///     "section_end:1500000007:get_sources\r\x1b[0K",
/// );
/// ```
pub fn section_end(unix: i64, name: &str) -> String {
    format!("section_end:{unix}:{}{CLEAR_LINE}", section_name(name))
}

fn section_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') {
                c
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_names_keep_to_what_gitlab_parses() {
        assert_eq!(
            section_end(1, "step: übung 2"),
            "section_end:1:step___bung_2\r\x1b[0K"
        );
        assert_eq!(
            section_start(1, "a.b-c_d", false),
            "section_start:1:a.b-c_d\r\x1b[0K"
        );
    }

    #[test]
    fn lines_are_coloured_and_end_plain() {
        assert_eq!(error("no disk"), "\x1b[31;1mERROR: no disk\x1b[0;m");
        assert_eq!(info("waiting"), "\x1b[0;36mwaiting\x1b[0;m");
    }
}
