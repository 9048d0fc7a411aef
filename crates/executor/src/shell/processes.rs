//! A job's processes, found by a mark in their environment: also those that left their group, and
//! those of an onspot that is gone.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The variable that marks a job's processes; its value is the slot's folder.
pub(super) const MARK: &str = "ONSPOT_SHELL_SLOT";

/// How often is looked for processes that were born while others were killed.
const ROUNDS: usize = 20;

/// The processes whose mark begins so.
pub(super) fn marked(mark: &str) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let prefix = format!("{MARK}={mark}");
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .parse()
                .ok()
                .and_then(Pid::from_raw)
        })
        .filter(|pid| pid.as_raw_nonzero().get().unsigned_abs() != std::process::id())
        .filter(|pid| has(*pid, prefix.as_bytes()))
        .collect()
}

fn has(pid: Pid, prefix: &[u8]) -> bool {
    let path = format!("/proc/{}/environ", pid.as_raw_nonzero());
    // Those of other users cannot be read: they are none of ours. Zombies have none any more.
    std::fs::read(path).is_ok_and(|environ| {
        environ.split(|&byte| byte == 0).any(|variable| {
            std::ffi::OsStr::from_bytes(variable)
                .as_bytes()
                .starts_with(prefix)
        })
    })
}

/// Sends all of them a signal.
pub(super) fn signal_marked(mark: &str, signal: Signal) {
    for pid in marked(mark) {
        // One that has just ended is what was wanted.
        let _ = kill_process(pid, signal);
    }
}

/// Kills all of them.
pub(super) async fn end_marked(mark: &str) {
    for _ in 0..ROUNDS {
        if marked(mark).is_empty() {
            return;
        }
        signal_marked(mark, Signal::KILL);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tracing::warn!(mark, "some of a job's processes cannot be killed");
}
