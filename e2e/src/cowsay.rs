//! The cowsay pipeline: the expected content of its last trace.

/// The lines of a trace printed by `cat ghosts.txt`: from the balloon's upper edge to the last line
/// that is not the runner's.
pub fn ghost(trace: &str) -> String {
    let lines: Vec<&str> = trace
        .lines()
        .map(|line| line.trim_end_matches('\r'))
        .collect();
    let edge = |line: &&str| {
        let line = line.trim();
        line.len() > 3 && line.chars().all(|char| char == '_')
    };
    let begin = lines.iter().position(edge).unwrap_or(lines.len());
    let end = lines[begin..]
        .iter()
        .position(|line| line.contains('\u{1b}'))
        .map_or(lines.len(), |length| begin + length);
    lines[begin..end].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ghost_is_cut_out_of_the_trace() {
        let trace = "\x1b[32;1m$ cat ghosts.txt\x1b[0;m\r\n _____\n< boo >\n -----\n   \\\n    (oo)\n\x1b[0Ksection_end:1:step_script\r\x1b[0K\n";
        assert_eq!(ghost(trace), " _____\n< boo >\n -----\n   \\\n    (oo)");
        assert_eq!(ghost("nothing"), "");
    }
}
