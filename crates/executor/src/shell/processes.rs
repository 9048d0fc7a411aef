//! A job's processes, found by a mark in their environment: also those that left their group, and
//! those of an onspot that is gone.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

/// The variable that marks a job's processes; its value is the slot's folder.
pub(super) const MARK: &str = "ONSPOT_SHELL_SLOT";

/// How often is looked for processes that were born while others were killed.
const ROUNDS: usize = 200;

/// A script's process group: it also holds those that have cleared their environment, and with it
/// the mark.
#[derive(Debug, Default)]
pub(super) struct Group {
    leader: Mutex<Option<Pid>>,
    stopping: AtomicBool,
}

impl Group {
    /// A script runs, the leader of a group of its own.
    pub(super) fn begin(&self, leader: Option<u32>) {
        self.set(leader.and_then(|id| Pid::from_raw(id.cast_signed())));
    }

    /// Asks all of the group to end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.signal(Signal::TERM);
    }

    /// Lets all of a group go on that stood still.
    pub(super) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether the group has been asked to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Kills the group and forgets it: its number may soon be another's.
    pub(super) fn end(&self) {
        self.signal(Signal::KILL);
        self.set(None);
        self.stopping.store(false, Ordering::SeqCst);
    }

    /// Whether any process of it is left.
    pub(super) fn lives(&self) -> bool {
        self.get()
            .is_some_and(|group| test_kill_process_group(group).is_ok())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.get() {
            // One that has just ended is what was wanted.
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

/// Makes all of them stand still, and all of a group; says whether none runs on.
///
/// A process does nothing more once the signal was sent to it: what is looked for is those that
/// others have made before that.
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
            // One that has just ended is as still as can be.
            let _ = kill_process(pid, Signal::STOP);
            held.insert(pid);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tracing::warn!(mark, "some of a job's processes do not stand still");
    false
}

/// Kills all of them; says whether none is left.
pub(super) async fn end_marked(mark: &str) -> bool {
    for _ in 0..ROUNDS {
        if marked(mark).is_empty() {
            return true;
        }
        signal_marked(mark, Signal::KILL);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tracing::warn!(mark, "some of a job's processes cannot be killed");
    false
}
