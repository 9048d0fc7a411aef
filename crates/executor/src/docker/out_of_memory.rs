//! Detects jobs that ran out of memory, and reports in the trace how much they had.
//!
//! There are two sources. The engine does not always notice: with cgroup v1 some kernels do not
//! tell it, and it may miss what happens in a container's last moment. The container's own cgroup
//! counts the processes killed by the kernel for lack of memory, but disappears with the container;
//! so the job's shell reads that count when it ends.

use std::fmt;
use std::time::Duration;

use bollard::Docker;
use onspot_gitlab::ansi;
use tokio::time::Instant;

use crate::plan::script::quote;

/// The exit code after SIGKILL.
const KILLED: i32 = 137;
/// How long after a container's end the engine may still learn that it ran out of memory.
const IS_HEARD: Duration = Duration::from_millis(300);
/// The pause between two queries.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// The files with the counts of a container's own cgroup, versions 1 and 2.
const COUNTS: [&str; 2] = [
    "/sys/fs/cgroup/memory/memory.oom_control",
    "/sys/fs/cgroup/memory.events",
];
/// How many bytes of the end of a script's output are searched for the shell's last message.
const TAIL: usize = 4096;

/// The memory limit of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory(Option<u64>);

impl Memory {
    /// The limit with which the container was created.
    pub(super) async fn of(docker: &Docker, id: &str) -> Self {
        let container = docker.inspect_container(id, None).await.ok();
        let limit = container.and_then(|container| container.host_config?.memory);
        Self::limited(limit)
    }

    /// For the engine, 0 means no limit.
    fn limited(limit: Option<i64>) -> Self {
        let limit = limit.and_then(|limit| u64::try_from(limit).ok());
        Self(limit.filter(|limit| *limit > 0))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => write!(f, "it had {}", super::size::shown(limit)),
            None => f.write_str("it had all that its host could give"),
        }
    }
}

/// The sentence for a job's trace. `what` happened to it: see [`of_container`].
pub(super) fn sentence(what: &str) -> String {
    format!(
        "the job {what}. Use less of it at once, or give jobs more: a larger limit (memory), a \
         larger instance, or fewer jobs at once on it"
    )
}

/// Commands that let a shell read its cgroup's count when it ends, and the message they print.
pub(super) struct Watch {
    line: String,
    tail: Vec<u8>,
}

impl Watch {
    /// For a container with this memory limit.
    pub(super) fn new(memory: Memory) -> Self {
        Self {
            line: ansi::error(&sentence(&format!("ran out of memory ({memory})"))),
            tail: Vec::new(),
        }
    }

    /// The commands to put before a script. A script with its own trap on exit is not watched.
    pub(super) fn before(&self) -> String {
        before(&COUNTS, &self.line)
    }

    /// Keeps the end of a script's output.
    pub(super) fn note(&mut self, printed: &[u8]) {
        self.tail.extend_from_slice(printed);
        let kept = TAIL.max(self.line.len());
        if self.tail.len() > 2 * kept {
            self.tail.drain(..self.tail.len() - kept);
        }
    }

    /// Whether the shell has printed the message. If the script itself prints it, it is not
    /// repeated.
    pub(super) fn has_said(&self) -> bool {
        let line = self.line.as_bytes();
        self.tail.windows(line.len()).any(|part| part == line)
    }
}

/// Only built-in commands of POSIX shells: an image may contain nothing else, and there may be no
/// memory for another process. The script's exit code is kept.
fn before(counts: &[&str], line: &str) -> String {
    let counts = counts.join(" ");
    let look = format!(
        "{{ onspot_code=$?; set +ex; }} 2>/dev/null\n\
         if [ \"$onspot_code\" != 0 ]; then\n\
         for onspot_file in {counts}; do\n\
         if [ -r \"$onspot_file\" ]; then\n\
         while IFS=' ' read -r onspot_key onspot_count; do\n\
         if [ \"$onspot_key\" = oom_kill ] && [ \"$onspot_count\" != 0 ]; then\n\
         printf '%s\\n' {} >&2\n\
         break 2\n\
         fi\n\
         done <\"$onspot_file\"\n\
         fi\n\
         done\n\
         fi\n\
         exit \"$onspot_code\"",
        quote(line)
    );
    format!("trap {} EXIT\n", quote(&look))
}

/// Whether a container that ended with `code` ran out of memory, and how much it had.
///
/// The engine learns of this from the kernel separately from the container's end, often later, so
/// it is queried repeatedly for a while; and not always, if the container ends at once. A process
/// that was killed, and not by us, most likely ran out of memory.
pub(super) async fn of_container(docker: &Docker, id: &str, code: i32) -> Option<String> {
    let begun = Instant::now();
    let (container, is_certain) = loop {
        let container = docker.inspect_container(id, None).await.ok()?;
        let state = container.state.as_ref()?;
        let is_certain = state.oom_killed == Some(true);
        if is_certain || begun.elapsed() >= IS_HEARD {
            break (container, is_certain);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    };
    let memory = Memory::limited(container.host_config.and_then(|config| config.memory));
    if is_certain {
        Some(format!("ran out of memory ({memory})"))
    } else if code == KILLED {
        Some(format!(
            "was killed, most likely because it ran out of memory ({memory})"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// A shell's standard error and exit code.
    fn ran(shell: &str, script: &str) -> (String, Option<i32>) {
        let mut child = Command::new(shell)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(script.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (said, output.status.code())
    }

    #[test]
    fn a_shell_reports_its_cgroups_count_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill ";
        let v2 = "low 0\nhigh 0\nmax 7\noom 1\noom_kill ";
        let (none, one) = (
            file("v1-none", &format!("{v1}0\n")),
            file("v1", &format!("{v1}1\n")),
        );
        let three = file("v2", &format!("{v2}3\noom_group_kill 0\n"));
        let missing = dir.path().join("missing");
        let missing = missing.to_str().unwrap();
        let line = "it's \u{1b}[31mfull";
        let said = format!("{line}\n");
        for shell in ["bash", "sh"] {
            for (counts, script, expected, code) in [
                ([&one[..], missing], "set -e\nfalse\n", &said[..], 1),
                ([missing, &three], "exit 7\n", &said, 7),
                ([&one, &three], "set -eu\n(exit 3)\n", &said, 3),
                (
                    [&one, &three],
                    "IFS=o; set -e; f() { return 4; }; f\n",
                    &said,
                    4,
                ),
                ([&one, &three], "exit 0\n", "", 0),
                ([&none, missing], "exit 5\n", "", 5),
                ([missing, missing], "exit 6\n", "", 6),
                // Its own trap is the only one that runs.
                ([&one, &three], "trap 'exit 8' EXIT\nfalse\n", "", 8),
                // Standard error is closed.
                ([&one, &three], "exec 2>&-\nset -e\nfalse\n", "", 1),
            ] {
                let script = format!("{}{script}", before(&counts, line));
                let expected = (expected.to_owned(), Some(code));
                assert_eq!(ran(shell, &script), expected, "{shell}: {script}");
            }
        }
    }

    #[test]
    fn the_message_is_found_at_the_end_of_much_output() {
        let mut watch = Watch::new(Memory(Some(32 << 20)));
        let line = watch.line.clone();
        assert!(line.contains("ran out of memory (it had 32 MiB)"), "{line}");
        watch.note(&vec![b'x'; 100_000]);
        assert!(!watch.has_said());
        let (head, rest) = line.split_at(10);
        watch.note(head.as_bytes());
        watch.note(rest.as_bytes());
        assert!(watch.has_said());
        watch.note(&vec![b'x'; TAIL / 2]);
        assert!(watch.has_said());
    }

    #[test]
    fn a_container_without_limit_had_what_its_host_had() {
        let texts = [None, Some(0), Some(-1), Some(64 << 20)].map(|limit| {
            let memory = Memory::limited(limit);
            memory.to_string()
        });
        let all = "it had all that its host could give";
        assert_eq!(texts, [all, all, all, "it had 64 MiB"]);
    }
}
