//! A job's processes, found by a mark in their environment: including those that left their group,
//! and those of an earlier onspot process.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

/// The variable that marks a job's processes; its value is the slot's folder.
pub(super) const MARK: &str = "ONSPOT_SHELL_SLOT";

/// How often to search for processes that were created while others were killed.
const ROUNDS: usize = 200;

/// A script's process group: it also contains processes that have cleared their environment and so
/// the mark.
#[derive(Debug, Default)]
pub(super) struct Group {
    leader: Mutex<Option<Pid>>,
    stopping: AtomicBool,
}

impl Group {
    /// A script has started as the leader of its own group.
    pub(super) fn begin(&self, leader: Option<u32>) {
        self.set(leader.and_then(|id| Pid::from_raw(id.cast_signed())));
    }

    /// Asks all processes of the group to end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.signal(Signal::TERM);
    }

    /// Resumes all stopped processes of the group.
    pub(super) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether the group has been asked to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Kills the group and forgets it, because its number may be reused soon.
    pub(super) fn end(&self) {
        self.signal(Signal::KILL);
        self.set(None);
        self.stopping.store(false, Ordering::SeqCst);
    }

    /// Whether it still has processes.
    pub(super) fn lives(&self) -> bool {
        self.get()
            .is_some_and(|group| test_kill_process_group(group).is_ok())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.get() {
            // The group may have just ended, which is fine.
            let _ = kill_process_group(group, signal);
        }
    }

    fn set(&self, leader: Option<Pid>) {
        *self.leader.lock() = leader;
    }

    fn get(&self) -> Option<Pid> {
        *self.leader.lock()
    }
}

/// The processes whose mark has this prefix.
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
    // Other users' processes cannot be read; they are not ours. Zombies no longer have an
    // environment.
    std::fs::read(path).is_ok_and(|environ| {
        let mut variables = environ.split(|&byte| byte == 0);
        variables.any(|variable| variable.starts_with(prefix))
    })
}

/// Sends them a signal.
pub(super) fn signal_marked(mark: &str, signal: Signal) {
    signal_all(marked(mark), signal);
}

fn signal_all(processes: impl IntoIterator<Item = Pid>, signal: Signal) {
    for pid in processes {
        // The process may have just ended, which is fine.
        let _ = kill_process(pid, signal);
    }
}

/// Stops all of them, and all of a group; returns whether none is still running.
///
/// A process does nothing more once the signal was sent to it; the search is for processes that
/// others created before that.
pub(super) async fn hold(mark: &str, group: &Group) -> bool {
    let mut held = HashSet::new();
    for _ in 0..ROUNDS {
        group.signal(Signal::STOP);
        let mut marked = marked(mark);
        marked.retain(|pid| !held.contains(pid));
        if marked.is_empty() {
            return true;
        }
        for pid in marked {
            // The process may have just ended, which is fine.
            let _ = kill_process(pid, Signal::STOP);
            held.insert(pid);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tracing::warn!(mark, "some of a job's processes do not stand still");
    false
}

/// Kills all of them; returns whether none is left.
pub(super) async fn end_marked(mark: &str) -> bool {
    for _ in 0..ROUNDS {
        let left = marked(mark);
        if left.is_empty() {
            return true;
        }
        signal_all(left, Signal::KILL);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tracing::warn!(mark, "some of a job's processes cannot be killed");
    false
}
